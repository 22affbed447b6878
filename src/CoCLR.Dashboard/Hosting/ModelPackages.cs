// Why this exists: what a run has learned is given away by a button: the command writes the package, and the browser saves it as one file.
using System.IO.Compression;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Packs trained networks for other people.</summary>
internal sealed class ModelPackages(LocalHost host, IOptions<DashboardOptions> options) : IDisposable
{
    private const int MaxLicense = 200;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);
    private readonly SemaphoreSlim _turn = new(1);

    /// <summary>Whether there is a command that packs.</summary>
    public bool CanPack => host.CanStart;

    /// <summary>Training stages of a run whose newest checkpoint lies on this machine, the last one first.</summary>
    /// <param name="run">The run.</param>
    public static IReadOnlyList<string> Stages(RunInfo run) =>
    [
        .. (ManifestText.Plan(run)?.Stages ?? []).Where(s => s.Kind is StageKind.Pretrain or StageKind.Cotrain).Select(s => s.Name)
            .Where(s => run.Stage(s) is { Phase: StagePhase.Succeeded })
            .Where(s => File.Exists(Path.Combine(FolderOf(run, s), RunFolder.CheckpointName))).Reverse(),
    ];

    /// <summary>Packs a checkpoint.</summary>
    /// <param name="run">The run.</param>
    /// <param name="stage">One of <see cref="Stages"/>.</param>
    /// <param name="license">Licence of the weights, or null.</param>
    /// <param name="dataLicense">Licence of the training videos, or null.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>A ZIP archive, which is removed when it is closed.</returns>
    /// <exception cref="UserErrorException">There is no such checkpoint, or the command says why not.</exception>
    public async Task<Stream> PackAsync(RunInfo run, string stage, string? license, string? dataLicense, CancellationToken cancel)
    {
        if (!Stages(run).Contains(stage))
        {
            throw new UserErrorException($"{run.Run} has no trained checkpoint of a stage '{stage}' on this machine.", ExitCodes.MissingInput);
        }

        string name = $"{run.Experiment}-{stage}";
        string work = Path.Combine(options.Value.ResolvedDataDir, "packages", Guid.NewGuid().ToString("N"));
        List<string> arguments = ["export", FolderOf(run, stage), Path.Combine(work, name), "--package"];
        foreach ((string option, string? value) in new[] { ("--license", license), ("--data-license", dataLicense) })
        {
            if (value?.Trim() is { Length: > 0 and <= MaxLicense } text)
            {
                // As one word, so that no value is taken for an option.
                arguments.Add($"{option}={text}");
            }
        }

        await _turn.WaitAsync(cancel);
        try
        {
            Directory.CreateDirectory(work);
            (int code, _, string errors) = await host.RunAsync(arguments, Limit, cancel);
            if (code != 0)
            {
                string said = Ansi.Strip(errors.Trim().Split('\n')[^1].Trim());
                throw new UserErrorException(
                    said.Length > 0 ? said : $"The package could not be written (exit code {code}): the dashboard's log says more.", code);
            }

            var archive = new FileStream(
                Path.Combine(work, name + ".zip"), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.DeleteOnClose);
            await ZipFile.CreateFromDirectoryAsync(
                Path.Combine(work, name), archive, CompressionLevel.Fastest, includeBaseDirectory: true, null, cancel);
            archive.Position = 0;
            return archive;
        }
        finally
        {
            _turn.Release();
            Discard(work);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    private static string FolderOf(RunInfo run, string stage) => new RunFolder(run.Folder).Stage(stage);

    // On Unix an archive that is still being sent lives on without its name.
    private static void Discard(string work)
    {
        try
        {
            Directory.Delete(work, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What is left goes with the data folder.
        }
    }
}
