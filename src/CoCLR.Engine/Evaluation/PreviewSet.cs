// Why this exists: a gallery shows hundreds of clips, many of them in several stages; each is encoded once, several at a time, and found again.
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Engine.Video.Previews;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;

namespace CoCLR.Engine.Evaluation;

/// <summary>Previews of the videos that evaluation shows: made once each under `RUN/previews`, named by their content.</summary>
public static class PreviewSet
{
    /// <summary>Frames of a preview; the middle of a longer video.</summary>
    public const int MaxFrames = 96;

    /// <summary>Makes the previews that are missing and writes `artifacts/previews.json`.</summary>
    /// <param name="runFolder">`RUN`.</param>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="stores">The stores of the views, by view name (`rgb`, `flow`).</param>
    /// <param name="ids">The videos, for example <see cref="EvaluationArtifacts.VideosOf"/>; those that a store lacks are left out.</param>
    /// <param name="workers">Encoders at a time; as many as processors where null.</param>
    /// <param name="progress">Told after each preview.</param>
    /// <param name="cancellationToken">Stops between previews.</param>
    /// <returns>What was written; a video that cannot be encoded is listed with the reason and does not fail the stage.</returns>
    /// <exception cref="UserErrorException">ffmpeg is missing (66).</exception>
    public static PreviewTable Make(
        string runFolder, string stageFolder, IReadOnlyDictionary<string, ClipStore> stores, IEnumerable<string> ids,
        int? workers = null, IProgress<PassProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(stores);
        (string Id, string View, ClipStore Store, int Index)[] wanted =
        [
            .. from id in ids.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)
               from view in stores.OrderBy(s => s.Key == "rgb" ? 0 : 1)
               let index = view.Value.TryIndexOf(id, out var found) ? found : -1
               where index >= 0
               select (id, view.Key, view.Value, index),
        ];
        var folder = new RunFolder(runFolder).Previews;
        var previews = new Preview?[wanted.Length];
        var reasons = new string?[wanted.Length];
        var done = 0;
        try
        {
            Parallel.For(0, wanted.Length, new ParallelOptions { MaxDegreeOfParallelism = workers ?? Environment.ProcessorCount, CancellationToken = cancellationToken }, i =>
            {
                var (id, view, store, index) = wanted[i];
                var frames = store.Videos[index].Frames;
                var count = Math.Min(frames, MaxFrames);
                try
                {
                    var files = ClipPreview.Make(store, index, (frames - count) / 2, count, folder, cancellationToken: cancellationToken);
                    previews[i] = new Preview(id, view, Relative(files.Video), Relative(files.Poster));
                }
                catch (UserErrorException e) when (!ExitCodes.IsPermanent(e.ExitCode))
                {
                    reasons[i] = e.Message;
                }

                progress?.Report(new PassProgress(Interlocked.Increment(ref done), wanted.Length));
            });
        }
        catch (AggregateException e) when (e.InnerExceptions.OfType<UserErrorException>().FirstOrDefault() is { } error)
        {
            throw new UserErrorException(error.Message, error.ExitCode, e);
        }

        var table = new PreviewTable
        {
            Previews = [.. previews.OfType<Preview>()],
            LeftOut = [.. wanted.Zip(reasons).Where(p => p.Second is not null).Select(p => new LeftOutVideo(p.First.Id, p.Second!))],
        };
        EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.Previews, table);
        return table;

        string Relative(string path) => Path.GetRelativePath(runFolder, path).Replace('\\', '/');
    }
}
