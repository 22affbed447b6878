// Why this exists: a manifest as a small graph of stages: which, in which order, fed by which checkpoints. Written as RUN/plan.json.
using System.Text.Json.Serialization;
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Planning;

/// <summary>The graph of stages that an experiment runs.</summary>
public sealed record StagePlan
{
    /// <summary>Id of the run: a DNS label, unique where the run is kept.</summary>
    public required string Run { get; init; }

    /// <summary>Name of the experiment.</summary>
    public required string Experiment { get; init; }

    /// <summary>SHA-256 (hexadecimal) of the fields of the spec that decide the result; a run folder belongs to one.</summary>
    public required string SpecHash { get; init; }

    /// <summary>The spec, with defaults filled in.</summary>
    public required ExperimentSpec Spec { get; init; }

    /// <summary>The stages, each after those it depends on.</summary>
    public required IReadOnlyList<Stage> Stages { get; init; }

    /// <summary>The stage of that name.</summary>
    /// <param name="name">A stage name.</param>
    /// <exception cref="UserErrorException">There is no such stage (exit 64).</exception>
    public Stage this[string name] => Stages.FirstOrDefault(s => s.Name == name)
        ?? throw new UserErrorException($"The plan of {Experiment} has no stage '{name}'; it has: {string.Join(", ", Stages.Select(s => s.Name))}.", ExitCodes.Usage);
}

/// <summary>One stage: one process, one folder, one Job.</summary>
public sealed record Stage
{
    /// <summary>Name: decode, flow, pretrain-rgb, cycle-1-flow, probe-rgb, ... (docs/architecture.md).</summary>
    public required string Name { get; init; }

    /// <summary>What it does.</summary>
    public required StageKind Kind { get; init; }

    /// <summary>The view it concerns; null for stages of the whole experiment.</summary>
    public View? View { get; init; }

    /// <summary>Stages that must have succeeded before.</summary>
    public IReadOnlyList<string> DependsOn { get; init; } = [];

    /// <summary>Training: stage whose checkpoint the encoder starts from; null starts from random weights.</summary>
    public string? InitializeFrom { get; init; }

    /// <summary>Co-training: stage whose checkpoint is the frozen encoder of the other view that mines positives.</summary>
    public string? MineWith { get; init; }

    /// <summary>Evaluation: stage whose checkpoint is measured.</summary>
    public string? Evaluates { get; init; }

    /// <summary>Cycle of co-training, from 1.</summary>
    public int? Cycle { get; init; }

    /// <summary>Epochs, when it trains.</summary>
    public int? Epochs { get; init; }

    /// <summary>Training: both views learn in this stage (CMC, simultaneous co-training); the flow stage beside it takes its encoder over.</summary>
    public bool Joint { get; init; }

    /// <summary>Whether it runs on the training device (a GPU pod in a cluster).</summary>
    public bool NeedsDevice { get; init; }

    /// <summary>Whether several processes can run it together: each computes some of the shards of every batch, or extracts features of some of the clips.</summary>
    [JsonIgnore]
    public bool TakesRanks => (Kind is StageKind.Pretrain or StageKind.Cotrain && Epochs > 0) || Kind is StageKind.Probe or StageKind.Retrieve;
}

/// <summary>What a stage does.</summary>
public enum StageKind
{
    /// <summary>Decodes the videos into the clip store.</summary>
    [JsonStringEnumMemberName("decode")] Decode,

    /// <summary>Computes optical flow.</summary>
    [JsonStringEnumMemberName("flow")] Flow,

    /// <summary>InfoNCE, UberNCE or CMC.</summary>
    [JsonStringEnumMemberName("pretrain")] Pretrain,

    /// <summary>A turn of CoCLR.</summary>
    [JsonStringEnumMemberName("cotrain")] Cotrain,

    /// <summary>Linear and kNN probe.</summary>
    [JsonStringEnumMemberName("probe")] Probe,

    /// <summary>Fine-tuning.</summary>
    [JsonStringEnumMemberName("finetune")] Finetune,

    /// <summary>Nearest-neighbour retrieval.</summary>
    [JsonStringEnumMemberName("retrieve")] Retrieve,

    /// <summary>Two-stream fusion.</summary>
    [JsonStringEnumMemberName("fuse")] Fuse,

    /// <summary>The report.</summary>
    [JsonStringEnumMemberName("report")] Report,
}
