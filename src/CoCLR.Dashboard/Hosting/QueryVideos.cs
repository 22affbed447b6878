// Why this exists: search by a person's own video: the file is kept for a moment under a random name, embedded by a child process with
// limits, and removed.
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.AspNetCore.Components.Forms;
using Microsoft.Extensions.Options;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Searches by uploaded videos.</summary>
internal sealed class QueryVideos(LocalHost host, IOptions<DashboardOptions> options) : IDisposable
{
    private const string QueryName = "query";
    private static readonly string[] Extensions = [".mp4", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".m4v"];
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);
    private readonly SemaphoreSlim _turn = new(2);

    public bool CanSearch => host.CanStart;

    /// <summary>Finds the clips nearest to an uploaded video.</summary>
    /// <param name="run">The run.</param>
    /// <param name="stage">A retrieve stage, which names the checkpoint and the gallery.</param>
    /// <param name="file">The upload.</param>
    /// <param name="doing">Told what is being done.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="UserErrorException">The file is no video, too large, or the search failed; the message names the person's
    /// file.</exception>
    public async Task<Neighbour[]> SearchAsync(
        RunInfo run, string stage, IBrowserFile file, Action<string> doing, CancellationToken cancel = default)
    {
        long most = options.Value.Limits.MaxQueryVideoBytes;
        if (file.Size > most)
        {
            throw Wrong(file, $"has {file.Size >> 20} MiB, and at most {most >> 20} MiB are taken (Dashboard:Limits:MaxQueryVideoBytes): "
                + $"cut a shorter piece of it");
        }

        string extension = Extensions.FirstOrDefault(e => file.Name.EndsWith(e, StringComparison.OrdinalIgnoreCase))
            ?? throw Wrong(file, $"does not look like a video: its name ends in none of {string.Join(", ", Extensions)}");
        string work = Path.Combine(options.Value.ResolvedDataDir, "queries", Guid.NewGuid().ToString("N"));
        string query = Path.Combine(work, "videos", QueryName + extension);
        doing("Waiting for its turn …");
        await _turn.WaitAsync(cancel);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(query)!);
            await ReceiveAsync(file, query, doing, cancel);
            doing("Embedding and searching …");
            return await EmbedAsync(run, stage, file, query, work, cancel);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw Wrong(
                file, $"took longer than {Limit.TotalMinutes:0} minutes to search by, which was ended: cut a shorter piece of it", e);
        }
        catch (Exception e) when (e is IOException or TimeoutException or JSException or InvalidOperationException)
        {
            throw Wrong(file, $"could not be received ({e.Message.TrimEnd('.')}): check the connection and choose it again", e);
        }
        finally
        {
            _turn.Release();
            if (Directory.Exists(work))
            {
                Directory.Delete(work, recursive: true);
            }
        }
    }

    /// <summary>Finds the clips nearest to one of the run's own gallery, from the features that are there.</summary>
    /// <param name="run">The run.</param>
    /// <param name="stage">A retrieve stage.</param>
    /// <param name="id">Id of the clip.</param>
    /// <exception cref="UserErrorException">The clip is not in the gallery, or the features are gone.</exception>
    public static Neighbour[] NearestTo(RunInfo run, string stage, string id)
    {
        (StagePlan plan, _, _, GalleryFeatures gallery) = Open(run, stage);
        return gallery.NearestTo(id, plan.Spec.Evaluation.Retrieval.Neighbours);
    }

    private static (StagePlan Plan, Stage Stage, string Checkpoint, GalleryFeatures Gallery) Open(RunInfo run, string stage)
    {
        StagePlan plan = ManifestText.Plan(run) ?? throw new UserErrorException("The run's plan cannot be read.", ExitCodes.BadData);
        Stage asked = plan[stage];
        string checkpoint = asked.Evaluates ?? throw new UserErrorException($"{stage} measures no checkpoint.", ExitCodes.BadData);
        string name = plan.Spec.Evaluation.Retrieval.Gallery == Core.Manifests.Gallery.OneClip ? "train-one-clip" : "train";
        return (plan, asked, checkpoint, GalleryFeatures.Read(run, RunFolder.RelativeFeatures(checkpoint), name));
    }

    public void Dispose() => _turn.Dispose();

    private async Task ReceiveAsync(IBrowserFile file, string query, Action<string> doing, CancellationToken cancel)
    {
        await using Stream from = file.OpenReadStream(options.Value.Limits.MaxQueryVideoBytes, cancel);
        await using var to = new FileStream(query, FileMode.CreateNew, FileAccess.Write, FileShare.None);
        byte[] buffer = new byte[256 * 1024];
        long received = 0, told = -1;
        for (int read; (read = await from.ReadAsync(buffer, cancel)) > 0;)
        {
            await to.WriteAsync(buffer.AsMemory(0, read), cancel);
            received += read;
            if (received * 100 / Math.Max(1, file.Size) is var percent && percent > told)
            {
                told = percent;
                doing($"Receiving the file: {percent} %");
            }
        }
    }

    /// <summary>
    /// Embeds the query in a child process and compares it with the run's gallery, centred as retrieval does (method.md 1e).
    /// </summary>
    private async Task<Neighbour[]> EmbedAsync(
        RunInfo run, string stage, IBrowserFile file, string query, string work, CancellationToken cancel)
    {
        (StagePlan plan, Stage asked, string checkpoint, GalleryFeatures gallery) = Open(run, stage);
        string collection = Path.Combine(work, "collection");
        string view = asked.View == Core.Manifests.View.Flow ? "flow" : "rgb";
        (int code, _, string errors) = await host.RunAsync(
            ["embed", Path.GetDirectoryName(query)!, "--checkpoint", new RunFolder(run.Folder).Stage(checkpoint), "--output", collection,
                "--view", view, "--device", "cpu", "--cache", Path.Combine(work, Workspace.CacheName)],
            Limit, cancel);
        if (code != 0)
        {
            string said = Ansi.Strip(errors.Trim().Split('\n')[^1].Trim())
                .Replace(Path.GetFileName(query), $"“{file.Name}”", StringComparison.Ordinal);
            throw new UserErrorException(
                said.Length > 0 ? said : $"“{file.Name}” could not be embedded (exit code {code}): the dashboard's log says more.", code);
        }

        float[] features = Npy.ReadFloat32(Path.Combine(collection, "features.npy")).Values;
        return gallery.Nearest(features, plan.Spec.Evaluation.Retrieval.Neighbours);
    }

    private static UserErrorException Wrong(IBrowserFile file, string what, Exception? cause = null) =>
        new($"“{file.Name}” {what}.", ExitCodes.BadData, cause);
}
