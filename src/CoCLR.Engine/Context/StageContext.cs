// Why this exists: what every stage is given.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;
using TorchSharp;

namespace CoCLR.Engine.Context;

/// <summary>What a stage works with.</summary>
public sealed class StageContext
{
    /// <summary>Name of the number of threads among a checkpoint's numbers.</summary>
    internal const string ThreadsKey = "threads";

    private readonly DateTimeOffset _begun = DateTimeOffset.UtcNow;
    private ExperimentSpec? _spec;

    /// <summary>The plan.</summary>
    public required StagePlan Plan { get; init; }

    /// <summary>The stage.</summary>
    public required Stage Stage { get; init; }

    /// <summary>The run folder.</summary>
    public required RunFolder Folder { get; init; }

    /// <summary>Folder of the stores that several runs share.</summary>
    public required string Cache { get; init; }

    /// <summary>Where the stage tells what it does.</summary>
    public required EventLog Events { get; init; }

    /// <summary>The device to compute on.</summary>
    public required torch.Device Device { get; init; }

    /// <summary>The processes that run this stage together; one is the normal case.</summary>
    public ICollective Ranks { get; init; } = Alone.Instance;

    /// <summary>Set when the stage is asked to stop: it writes a checkpoint and throws <see cref="OperationCanceledException"/>.</summary>
    public required CancellationToken Stop { get; init; }

    /// <summary>What is done when the result is written and told, so that it holds up nothing; its failure is a warning.</summary>
    public Action? AfterResult { get; set; }

    /// <summary>The spec; with <c>compatibility: reference</c>, its evaluation is the reference's too.</summary>
    public ExperimentSpec Spec => _spec ??= AsReference(Plan.Spec);

    /// <summary>The view of the stage.</summary>
    public View View => Stage.View ?? View.Rgb;

    /// <summary>Name of the device, for people.</summary>
    public string DeviceName => (Ranks.World == 1 ? "" : $"{Ranks.World} ranks, each ")
        + (Device.type == DeviceType.CPU ? $"CPU, {TorchRuntime.Threads} thread{(TorchRuntime.Threads == 1 ? "" : "s")}" : Ranks.World == 1 ? $"GPU {Device.index}" : "one GPU");

    /// <summary>Sets this process's arithmetic to the manifest's, and says in the log what one made for GPUs means on a processor.</summary>
    public void UsePrecision()
    {
        TorchRuntime.SetPrecision(Spec.Training.Precision);
        if (Device.type == DeviceType.CPU && Spec.Training.Precision != Precision.Fp32)
        {
            Events.Log(Spec.Training.Precision == Precision.Tf32
                ? "training.precision: tf32 concerns NVIDIA GPUs; this processor computes in fp32."
                : "training.precision: bf16 is meant for GPUs; on a processor it computes the same numbers, slower than fp32.");
        }
    }

    /// <summary>Goes on with the number of threads that a checkpoint was made with: another number adds in another order and gives other bits.</summary>
    /// <param name="scalars">The checkpoint's numbers.</param>
    public void UseThreads(IReadOnlyDictionary<string, double> scalars)
    {
        if (Device.type == DeviceType.CPU && scalars.TryGetValue(ThreadsKey, out double threads) && threads >= 1 && (int)threads != TorchRuntime.Threads)
        {
            Events.Log($"goes on with {threads:0} thread{(threads == 1 ? "" : "s")}, as it began, not with {TorchRuntime.Threads}: so the numbers stay those of an unbroken run.");
            TorchRuntime.UseThreads((int)threads);
        }
    }

    /// <summary>Wraps what was measured into the form of result.json.</summary>
    /// <param name="outcome">What was measured.</param>
    /// <param name="view">rgb, flow or two-stream; the stage's own when null.</param>
    /// <param name="epochsTrained">Epochs behind the representation.</param>
    public StageResult Result(Outcome outcome, string? view = null, int epochsTrained = 0) => new()
    {
        Stage = Stage.Name,
        View = view ?? Stage.View?.Name() ?? "-",
        Method = Spec.Training.Method.DisplayName(),
        DataSet = DataSetName(Spec.Dataset.Source),
        Split = Spec.Dataset.TrainList ?? $"split {Spec.Dataset.Split}",
        EpochsTrained = epochsTrained,
        Seed = Spec.Seed,
        Device = DeviceName,
        WallSeconds = (DateTimeOffset.UtcNow - _begun).TotalSeconds,
        FinishedAt = DateTimeOffset.UtcNow,
        ReferenceCompatible = Spec.Training.Compatibility == Compatibility.Reference,
        Outcome = outcome,
    };

    /// <summary>Opens the store that an earlier stage has made.</summary>
    /// <param name="stage">decode or flow.</param>
    /// <exception cref="UserErrorException">The stage has not run, or its store is gone (66), or it holds flow in the units of an earlier version (65).</exception>
    public ClipStore OpenStore(string stage)
    {
        var data = (DataResult)Folder.ReadResult(stage).Outcome;
        string folder = Path.Combine(Cache, data.Store);
        if (!ClipStore.Exists(folder))
        {
            throw new UserErrorException($"{folder} is gone: the cache was removed after {stage} had finished. Remove {Folder.Stage(stage)} and run again.", ExitCodes.MissingInput);
        }

        ClipStore store = ClipStore.Open(folder);
        if (store.Channels == 2 && !store.Header.Settings.ContainsKey(ClipStoreHeader.FlowUnit))
        {
            store.Dispose();
            throw new UserErrorException(
                $"{folder} holds flow in pixels of the stored frames, as an earlier version made it. Networks trained on it cannot be compared with others: remove {Folder.Root} and run again.",
                ExitCodes.BadData);
        }

        return store;
    }

    /// <summary>Epochs that a representation was trained for: those of its stage and of all it started from.</summary>
    /// <param name="stage">Name of a training stage.</param>
    public int EpochsBehind(string? stage) => stage == null ? 0 : (Plan[stage].Epochs ?? 0) + EpochsBehind(Plan[stage].InitializeFrom);

    /// <summary>A spec as the reference evaluates: the probe's epoch chosen on the test set, one random clip for a gallery video (docs/method.md, part 2).</summary>
    internal static ExperimentSpec AsReference(ExperimentSpec spec) => spec.Training.Compatibility != Compatibility.Reference ? spec : spec with
    {
        Evaluation = spec.Evaluation with
        {
            LinearProbe = spec.Evaluation.LinearProbe with { Selection = Selection.Test },
            Retrieval = spec.Evaluation.Retrieval with { Gallery = Gallery.OneClip },
        },
    };

    private static string DataSetName(DatasetSource source) =>
        source.Path is { } path ? Path.GetFileName(Path.TrimEndingDirectorySeparator(path))
        : source.VolumeClaim is { } claim ? (claim.Path.Length == 0 ? claim.Name : Path.GetFileName(claim.Path))
        : source.S3 is { } s3 ? s3.Bucket
        : $"synthetic actions, {source.Synthetic!.Classes} classes";
}
