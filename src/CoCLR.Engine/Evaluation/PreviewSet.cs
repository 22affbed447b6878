// Why this exists: a gallery shows hundreds of clips, many of them in several stages; each is encoded once, several at a time, and found
// again.
using System.Collections.Concurrent;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;
using CoCLR.Engine.Video.Previews;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;

namespace CoCLR.Engine.Evaluation;

/// <summary>Previews of the videos that evaluation shows: made once each under `RUN/previews`, named by their content.</summary>
public static class PreviewSet
{
    /// <summary>Frames of a preview; the middle of a longer video.</summary>
    public const int MaxFrames = 96;

    private static PreviewClip Middle(ClipStore store, int index)
    {
        var frames = store.Videos[index].Frames;
        var count = Math.Min(frames, MaxFrames);
        return new PreviewClip(store, index, (frames - count) / 2, count);
    }

    /// <summary>Makes the previews that are missing and writes `artifacts/previews.json`.</summary>
    /// <param name="runFolder">`RUN`.</param>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="stores">The stores of the views, by view name (`rgb`, `flow`).</param>
    /// <param name="ids">The videos, for example <see cref="EvaluationArtifacts.VideosOf"/>; those that a store lacks are left out.</param>
    /// <param name="workers">Processes at a time; as many as processors where null.</param>
    /// <param name="progress">Told the number of previews made and of those that were missing.</param>
    /// <param name="cancellationToken">Stops between previews.</param>
    /// <returns>What was written; a video that cannot be encoded is listed with the reason and does not fail the stage.</returns>
    /// <exception cref="UserErrorException">ffmpeg is missing (66).</exception>
    public static PreviewTable Make(
        string runFolder, string stageFolder, IReadOnlyDictionary<string, ClipStore> stores, IEnumerable<string> ids,
        int? workers = null, IProgress<PassProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(stores);
        (string Id, string View, PreviewClip Clip)[] wanted =
        [
            .. from id in ids.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)
               from view in stores.OrderBy(s => s.Key == "rgb" ? 0 : 1)
               let index = view.Value.TryIndexOf(id, out var found) ? found : -1
               where index >= 0
               select (id, view.Key, Middle(view.Value, index)),
        ];
        var folder = new RunFolder(runFolder).Previews;
        var reasons = new ConcurrentDictionary<string, string>(StringComparer.Ordinal);
        foreach (var stale in Directory.Exists(folder) ? Directory.GetDirectories(folder, ".*.tmp") : [])
        {
            Directory.Delete(stale, recursive: true); // of a process that was killed: a run's previews have one writer
        }

        var batches = ClipPreview.Missing(wanted.Select(w => w.Clip), folder);
        var total = batches.Sum(b => b.Length);
        var done = 0;
        try
        {
            Parallel.ForEach(
                Partitioner.Create(batches, EnumerablePartitionerOptions.NoBuffering),
                new ParallelOptions
                {
                    MaxDegreeOfParallelism = workers ?? Environment.ProcessorCount, CancellationToken = cancellationToken
                },
                batch =>
                {
                    if (Try(batch) is not null && batch.Length > 1)
                    {
                        // One clip spoils its batch: the others are made one by one.
                        Array.ForEach(batch, clip => Try([clip]));
                    }

                    progress?.Report(new PassProgress(Interlocked.Add(ref done, batch.Length), total));
                });
        }
        catch (AggregateException e) when (e.InnerExceptions.OfType<UserErrorException>().FirstOrDefault() is { } error)
        {
            throw new UserErrorException(error.Message, error.ExitCode, e);
        }

        var table = new PreviewTable
        {
            Previews =
            [
                .. wanted.Select(w => (w.Id, w.View, Files: w.Clip.FilesIn(folder))).Where(w => !reasons.ContainsKey(w.Files.Video))
                    .Select(w => new Preview(w.Id, w.View, Relative(w.Files.Video), Relative(w.Files.Poster))),
            ],
            LeftOut =
            [
                .. wanted.Select(w => (w.Id, Reason: reasons.GetValueOrDefault(w.Clip.FilesIn(folder).Video)))
                    .Where(w => w.Reason is not null)
                    .Select(w => new LeftOutVideo(w.Id, w.Reason!)),
            ],
        };
        EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.Previews, table);
        return table;

        string? Try(PreviewClip[] batch)
        {
            try
            {
                ClipPreview.Encode(batch, folder, cancellationToken);
                Array.ForEach(batch, clip => reasons.TryRemove(clip.FilesIn(folder).Video, out _));
                return null;
            }
            catch (UserErrorException e) when (!ExitCodes.IsPermanent(e.ExitCode))
            {
                Array.ForEach(batch, clip => reasons[clip.FilesIn(folder).Video] = e.Message);
                return e.Message;
            }
        }

        string Relative(string path) => Path.GetRelativePath(runFolder, path).Replace('\\', '/');
    }
}
