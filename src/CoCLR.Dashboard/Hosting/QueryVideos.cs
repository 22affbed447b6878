// Why this exists: search by a person's own video: the file is kept for a moment under a random name, embedded by a child process with limits, and removed.
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components.Forms;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Searches by uploaded videos.</summary>
internal sealed class QueryVideos(LocalHost host, IOptions<DashboardOptions> options) : IDisposable
{
    private static readonly string[] Extensions = [".mp4", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".m4v"];
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);
    private readonly SemaphoreSlim _turn = new(2);

    public bool CanSearch => host.CanStart;

    /// <summary>Finds the clips nearest to an uploaded video.</summary>
    /// <param name="run">The run.</param>
    /// <param name="stage">A retrieve stage, which names the checkpoint and the gallery.</param>
    /// <param name="file">The upload.</param>
    /// <param name="doing">Told what is being done.</param>
    /// <exception cref="UserErrorException">The file is no video, too large, or the search failed.</exception>
    public async Task<Neighbour[]> SearchAsync(RunInfo run, string stage, IBrowserFile file, Action<string> doing)
    {
        if (file.Size > options.Value.Limits.MaxQueryVideoBytes)
        {
            throw new UserErrorException($"The file has {file.Size >> 20} MiB; at most {options.Value.Limits.MaxQueryVideoBytes >> 20} MiB are taken (Dashboard:Limits:MaxQueryVideoBytes).", ExitCodes.BadData);
        }

        string extension = Extensions.FirstOrDefault(e => file.Name.EndsWith(e, StringComparison.OrdinalIgnoreCase))
            ?? throw new UserErrorException($"This does not look like a video: its name ends in none of {string.Join(", ", Extensions)}.", ExitCodes.BadData);
        string folder = Path.Combine(options.Value.ResolvedDataDir, "queries");
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, Guid.NewGuid().ToString("N") + extension);
        doing("Waiting for its turn …");
        await _turn.WaitAsync();
        try
        {
            doing("Receiving the file …");
            await using (Stream from = file.OpenReadStream(options.Value.Limits.MaxQueryVideoBytes))
            await using (var to = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                await from.CopyToAsync(to);
            }

            doing("Embedding and searching …");
            return await RunAsync(run, stage, path);
        }
        catch (OperationCanceledException e)
        {
            throw new UserErrorException($"The search took longer than {Limit.TotalMinutes:0} minutes and was ended. Try a shorter video.", ExitCodes.Failed, e);
        }
        catch (IOException e)
        {
            throw new UserErrorException($"The file could not be received: {e.Message}", ExitCodes.BadData, e);
        }
        finally
        {
            _turn.Release();
            File.Delete(path);
        }
    }

    public void Dispose() => _turn.Dispose();

    /// <summary>Embeds the query in a child process and compares it with the run's gallery, centred as retrieval does (method.md 1e).</summary>
    private async Task<Neighbour[]> RunAsync(RunInfo run, string stage, string path)
    {
        StagePlan plan = ManifestText.Plan(run) ?? throw new UserErrorException("The run's plan cannot be read.", ExitCodes.BadData);
        Stage asked = plan[stage];
        string checkpoint = asked.Evaluates ?? throw new UserErrorException($"{stage} measures no checkpoint.", ExitCodes.BadData);
        string name = plan.Spec.Evaluation.Retrieval.Gallery == Core.Manifests.Gallery.OneClip ? "train-one-clip" : "train";
        GalleryFeatures gallery = GalleryFeatures.Read(run, $"features/{checkpoint}", name);

        string work = path + ".work";
        string videos = Path.Combine(work, "videos");
        string collection = Path.Combine(work, "collection");
        Directory.CreateDirectory(videos);
        try
        {
            File.Move(path, Path.Combine(videos, "query" + Path.GetExtension(path)));
            string view = asked.View == Core.Manifests.View.Flow ? "flow" : "rgb";
            (int code, _, string errors) = await host.RunAsync(
                ["embed", videos, "--checkpoint", Path.Combine(run.Folder, "stages", checkpoint), "--output", collection, "--view", view, "--device", "cpu", "--cache", Path.Combine(work, "cache")], Limit, CancellationToken.None);
            if (code != 0)
            {
                string reason = Ansi.Strip(errors.Trim().Split('\n')[^1].Trim());
                throw new UserErrorException(reason.Length > 0 ? reason : $"The video could not be embedded (exit code {code}).", code);
            }

            float[] query = Npy.Read(Path.Combine(collection, "features.npy")).Values;
            return gallery.Nearest(query, plan.Spec.Evaluation.Retrieval.Neighbours);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }
}
