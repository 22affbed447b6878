// Why this exists: a suite's whole behaviour as one pure function: which experiments should exist, what the suite's state is, and its result table.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Results;
using CoCLR.Operator.Api;
using CoCLR.Operator.Runtime;
using CoCLR.Operator.Status;

namespace CoCLR.Operator.Reconciling;

/// <summary>What a suite's spec means: its experiments, or what is wrong with it.</summary>
/// <param name="Spec">The spec.</param>
/// <param name="Experiments">Its experiments in the order of the axes.</param>
/// <param name="Reason">Why it is refused.</param>
/// <param name="Problem">What is wrong.</param>
public sealed record Expansion(BenchmarkSpec? Spec, IReadOnlyList<MatrixExperiment> Experiments, string? Reason = null, string? Problem = null)
{
    /// <summary>Expands a suite.</summary>
    /// <param name="benchmark">The suite.</param>
    public static Expansion Of(CustomResource<BenchmarkSpec, BenchmarkStatus> benchmark)
    {
        (BenchmarkSpec? spec, string? unreadable) = benchmark.ParseSpec();
        if (spec == null)
        {
            return new Expansion(null, [], ConditionReasons.Unparseable, unreadable);
        }

        List<ManifestProblem> problems = [.. benchmark.CheckFields(SchemaModel.Benchmark)];
        if (problems.Count == 0)
        {
            problems = [.. BenchmarkRules.Check(spec)];
        }

        return problems.Count > 0
            ? new Expansion(null, [], ConditionReasons.InvalidSpec, string.Join("; ", problems.Take(8)))
            : new Expansion(spec, BenchmarkRules.Expand(benchmark.Meta.Key.Name, spec));
    }
}

/// <summary>What is observed of a suite.</summary>
public sealed record BenchmarkObservation
{
    /// <summary>The suite.</summary>
    public required CustomResource<BenchmarkSpec, BenchmarkStatus> Benchmark { get; init; }

    /// <summary>What its spec means.</summary>
    public required Expansion Expansion { get; init; }

    /// <summary>Experiments that it owns.</summary>
    public IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> Children { get; init; } = [];

    /// <summary>An experiment of its namespace, whoever owns it.</summary>
    public Func<string, CustomResource<ExperimentSpec, ExperimentStatus>?> Experiment { get; init; } = _ => null;

    /// <summary>Now.</summary>
    public required DateTimeOffset Now { get; init; }
}

/// <summary>What should be done about a suite.</summary>
public sealed record BenchmarkDecision
{
    /// <summary>Experiments to make.</summary>
    public IReadOnlyList<JsonObject> Create { get; init; } = [];

    /// <summary>Merge patches of experiments, by metadata.</summary>
    public IReadOnlyList<(ObjectMeta Child, JsonObject Patch)> Patch { get; init; } = [];

    /// <summary>Experiments to delete.</summary>
    public IReadOnlyList<ObjectMeta> Delete { get; init; } = [];

    /// <summary>The status.</summary>
    public BenchmarkStatus? Status { get; init; }

    /// <summary>Events.</summary>
    public IReadOnlyList<ObjectEvent> Events { get; init; } = [];

    /// <summary>When to look again without a change.</summary>
    public TimeSpan? Again { get; init; }
}

/// <summary>Reconciles suites.</summary>
public static class BenchmarkReconciler
{
    private const int MaximumRows = 256;

    /// <summary>Decides what should be.</summary>
    /// <param name="observed">What is observed.</param>
    public static BenchmarkDecision Reconcile(BenchmarkObservation observed)
    {
        ObjectMeta meta = observed.Benchmark.Meta;
        BenchmarkStatus known = observed.Benchmark.ParseStatus();
        if (meta.Deleting != null)
        {
            return new BenchmarkDecision();
        }

        if (observed.Expansion.Spec is not { } spec)
        {
            return Refused(known, observed, observed.Expansion.Reason!, observed.Expansion.Problem!, accepted: false);
        }

        string[] foreign = [.. observed.Expansion.Experiments.Where(e => observed.Experiment(e.Name) is { } there && there.Meta.Controller?.Uid != meta.Uid && !Predecessor(there.Meta, meta)).Select(e => e.Name)];
        if (foreign.Length > 0)
        {
            return Refused(known, observed, ConditionReasons.NameConflict, $"the experiment {foreign[0]}{(foreign.Length > 1 ? $" and {foreign.Length - 1} more" : "")} of this namespace belongs to something else; delete it and the suite goes on by itself", accepted: true);
        }

        return Decide(known, spec, observed);
    }

    private static bool Predecessor(ObjectMeta child, ObjectMeta suite) => child.Deleting != null || (child.Controller is { Kind: ApiNames.Benchmark } owner && owner.Name == suite.Key.Name);

    private static BenchmarkDecision Decide(BenchmarkStatus known, BenchmarkSpec spec, BenchmarkObservation observed)
    {
        ObjectMeta meta = observed.Benchmark.Meta;
        var children = observed.Children.ToDictionary(c => c.Meta.Key.Name);
        var wanted = observed.Expansion.Experiments;
        var states = wanted.Select(e => (Experiment: e, Child: children.GetValueOrDefault(e.Name), State: StateOf(children.GetValueOrDefault(e.Name)))).ToArray();
        int succeeded = states.Count(s => s.State == ExperimentState.Succeeded), failed = states.Count(s => s.State == ExperimentState.Failed);
        bool stop = failed > 0 && spec.FailurePolicy == FailurePolicy.Stop;
        var active = states.Where(s => s.Child != null && s.State is not (ExperimentState.Succeeded or ExperimentState.Failed)).ToArray();
        int pending = states.Count(s => s.Child == null);
        bool suspend = spec.Suspend || stop;

        JsonObject[] create = suspend ? [] : [.. states.Where(s => s.Child == null && observed.Experiment(s.Experiment.Name) == null).Take(Math.Max(0, spec.Parallelism - active.Length)).Select(s => Child(meta, s.Experiment, spec))];
        (ObjectMeta, JsonObject)[] patch = [.. active.Select(s => (s.Child!.Meta, Patch: PatchOf(s.Child, s.Experiment.Spec, suspend || spec.Template.Suspend))).Where(p => p.Patch != null).Select(p => (p.Meta, p.Patch!))];
        ObjectMeta[] prune = spec.Prune == PrunePolicy.Delete ? [.. children.Values.Where(c => wanted.All(w => w.Name != c.Meta.Key.Name) && c.Meta.Deleting == null).Select(c => c.Meta)] : [];
        (IReadOnlyList<BenchmarkRow> rows, bool truncated) = Table(states.Select(s => (s.Experiment, s.State == ExperimentState.Succeeded ? s.Child!.ParseStatus() : null)), spec);

        bool done = stop ? active.All(a => a.State == ExperimentState.Suspended) && create.Length == 0 : succeeded + failed == states.Length;
        BenchmarkStatus next = known with
        {
            ObservedGeneration = meta.Generation,
            Total = states.Length,
            Pending = pending - create.Length,
            Active = active.Length + create.Length,
            Succeeded = succeeded,
            Failed = failed,
            Finished = $"{succeeded + failed}/{states.Length}",
            Results = rows,
            Truncated = truncated ? true : null,
            Best = Best(rows),
            StartTime = known.StartTime ?? (create.Length > 0 ? observed.Now : null),
            CompletionTime = done ? known.CompletionTime ?? observed.Now : null,
        };
        next = Describe(next, spec, active.Count(a => a.State is ExperimentState.Training), active.All(a => a.State == ExperimentState.Suspended), done, observed);
        var events = new List<ObjectEvent>();
        if (next.State != known.State && next.State is ExperimentState.Succeeded or ExperimentState.Failed or ExperimentState.Suspended)
        {
            string message = next.Condition(ConditionTypes.Ready)!.Message;
            if (next.State != known.State)
            {
                events.Add(next.State == ExperimentState.Failed ? ObjectEvent.Warning(nameof(ExperimentState.Failed), message) : ObjectEvent.Normal(next.State.ToString()!, message));
            }
        }

        if (prune.Length > 0)
        {
            events.Add(ObjectEvent.Normal("Pruned", $"{prune.Length} experiments that the suite no longer names are deleted"));
        }

        return new BenchmarkDecision { Create = create, Patch = patch, Delete = prune, Status = next, Events = events };
    }

    private static ExperimentState StateOf(CustomResource<ExperimentSpec, ExperimentStatus>? child) =>
        Enum.TryParse(child?.State, out ExperimentState state) ? state : ExperimentState.Pending;

    private static BenchmarkStatus Describe(BenchmarkStatus next, BenchmarkSpec spec, int training, bool quiet, bool done, BenchmarkObservation observed)
    {
        var conditions = new ConditionSet(observed.Benchmark.ParseStatus().Conditions, observed.Benchmark.Meta.Generation, observed.Now)
            .True(ConditionTypes.Accepted, ConditionReasons.Valid, $"the suite makes {next.Total} experiments")
            .Set(ConditionTypes.Running, training > 0 ? ConditionStatus.True : ConditionStatus.False, training > 0 ? ConditionReasons.Training : ConditionReasons.NotRunning, $"{training} experiments train");
        string counts = $"{next.Succeeded} succeeded, {next.Failed} failed, {next.Active} active, {next.Pending} pending";
        ExperimentState state;
        if (done && next.Failed > 0)
        {
            state = ExperimentState.Failed;
            conditions.False(ConditionTypes.Ready, ConditionReasons.ExperimentsFailed, counts)
                .True(ConditionTypes.Stalled, ConditionReasons.ExperimentsFailed, counts)
                .False(ConditionTypes.Succeeded, ConditionReasons.ExperimentsFailed, counts);
        }
        else if (done)
        {
            state = ExperimentState.Succeeded;
            conditions.True(ConditionTypes.Ready, ConditionReasons.Succeeded, counts).True(ConditionTypes.Succeeded, ConditionReasons.Succeeded, counts);
        }
        else if (spec.Suspend && quiet)
        {
            state = ExperimentState.Suspended;
            conditions.True(ConditionTypes.Ready, ConditionReasons.Suspended, $"suspended: {counts}")
                .True(ConditionTypes.Suspended, ConditionReasons.Suspended, "no experiment runs")
                .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet");
        }
        else
        {
            state = spec.Suspend ? ExperimentState.Suspending : training > 0 ? ExperimentState.Training : ExperimentState.Starting;
            string reason = spec.Suspend ? ConditionReasons.Suspending : ConditionReasons.Progressing;
            conditions.False(ConditionTypes.Ready, reason, counts).True(ConditionTypes.Reconciling, reason, counts)
                .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet");
        }

        return next with { State = state, Conditions = conditions.Build() };
    }

    private static BenchmarkDecision Refused(BenchmarkStatus known, BenchmarkObservation observed, string reason, string message, bool accepted)
    {
        var conditions = new ConditionSet(known.Conditions, observed.Benchmark.Meta.Generation, observed.Now)
            .False(ConditionTypes.Ready, reason, message)
            .True(ConditionTypes.Stalled, reason, message)
            .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet")
            .Set(ConditionTypes.Accepted, accepted ? ConditionStatus.True : ConditionStatus.False, accepted ? ConditionReasons.Valid : reason, accepted ? "the spec is valid" : message)
            .False(ConditionTypes.Running, ConditionReasons.NotRunning, message);
        return new BenchmarkDecision
        {
            Status = known with { ObservedGeneration = observed.Benchmark.Meta.Generation, State = ExperimentState.Stalled, Conditions = conditions.Build() },
            Events = known.Condition(ConditionTypes.Stalled)?.Reason == reason ? [] : [ObjectEvent.Warning(reason, message)],
            Again = accepted ? TimeSpan.FromSeconds(30) : null,
        };
    }

    private static JsonObject Child(ObjectMeta suite, MatrixExperiment experiment, BenchmarkSpec spec)
    {
        // Experiments of a suite stay as long as the suite: one that its own TTL removed would be made again.
        JsonObject json = JsonSerializer.SerializeToNode(experiment.Spec with { TtlSecondsAfterFinished = null, Suspend = spec.Template.Suspend }, CoclrJson.Compact)!.AsObject();
        var labels = new JsonObject
        {
            ["app.kubernetes.io/name"] = "coclr-experiment",
            ["app.kubernetes.io/instance"] = experiment.Name,
            ["app.kubernetes.io/component"] = "experiment",
            ["app.kubernetes.io/part-of"] = "coclr-platform",
            ["app.kubernetes.io/managed-by"] = Labels.Manager,
            [Labels.Benchmark] = ChildNames.LabelValue(suite.Key.Name),
            [Labels.BenchmarkUid] = suite.Uid,
        };
        if (suite.Label(Labels.QueuePriority) is { } priority)
        {
            labels[Labels.QueuePriority] = priority;
        }

        return new JsonObject
        {
            ["apiVersion"] = ApiNames.ApiVersion,
            ["kind"] = ApiNames.Experiment,
            ["metadata"] = new JsonObject
            {
                ["name"] = experiment.Name,
                ["namespace"] = suite.Key.Namespace,
                ["labels"] = labels,
                ["annotations"] = new JsonObject { [Labels.Cell] = BenchmarkRules.CellText(experiment.Cell) + $"{(experiment.Cell.Count > 0 ? ", " : "")}seed={experiment.Seed}" },
                ["ownerReferences"] = new JsonArray(new JsonObject
                {
                    ["apiVersion"] = ApiNames.ApiVersion,
                    ["kind"] = ApiNames.Benchmark,
                    ["name"] = suite.Key.Name,
                    ["uid"] = suite.Uid,
                    ["controller"] = true,
                    ["blockOwnerDeletion"] = true,
                }),
            },
            ["spec"] = json,
        };
    }

    /// <summary>The fields that may change in a running experiment, where they differ.</summary>
    private static JsonObject? PatchOf(CustomResource<ExperimentSpec, ExperimentStatus> child, ExperimentSpec wanted, bool suspend)
    {
        if (child.ParseSpec().Spec is not { } spec)
        {
            return null;
        }

        var patch = new JsonObject();
        if (spec.Suspend != suspend)
        {
            patch["suspend"] = suspend;
        }

        if (spec.ActiveDeadlineSeconds != wanted.ActiveDeadlineSeconds)
        {
            patch["activeDeadlineSeconds"] = wanted.ActiveDeadlineSeconds;
        }

        if (spec.PreRunningDeadlineSeconds != wanted.PreRunningDeadlineSeconds)
        {
            patch["preRunningDeadlineSeconds"] = wanted.PreRunningDeadlineSeconds;
        }

        if (spec.StallDeadlineSeconds != wanted.StallDeadlineSeconds)
        {
            patch["stallDeadlineSeconds"] = wanted.StallDeadlineSeconds;
        }

        if (spec.Scheduling != null && wanted.Scheduling != null && spec.Scheduling.PriorityClassName != wanted.Scheduling.PriorityClassName)
        {
            patch["scheduling"] = new JsonObject { ["priorityClassName"] = wanted.Scheduling.PriorityClassName };
        }

        return patch.Count == 0 ? null : new JsonObject { ["metadata"] = new JsonObject { ["uid"] = child.Meta.Uid }, ["spec"] = patch };
    }

    /// <summary>The result table: one row for each cell and view, over the seeds, compared with the baseline.</summary>
    /// <param name="experiments">The suite's experiments, with the status of those that succeeded.</param>
    /// <param name="spec">The suite.</param>
    public static (IReadOnlyList<BenchmarkRow> Rows, bool Truncated) Table(IEnumerable<(MatrixExperiment Experiment, ExperimentStatus? Status)> experiments, BenchmarkSpec spec)
    {
        var cells = experiments.GroupBy(e => BenchmarkRules.CellText(e.Experiment.Cell)).Select(g => (Text: g.Key, g.First().Experiment.Cell, Results: g.Where(e => e.Status != null).SelectMany(e => e.Status!.Results).ToArray())).ToArray();
        var byCell = cells.ToDictionary(c => c.Text, c => c.Results);
        var rows = new List<BenchmarkRow>();
        foreach ((string text, IReadOnlyDictionary<string, string> cell, ResultStatus[] results) in cells)
        {
            string baseline = BenchmarkRules.BaselineText(cell, spec.Baseline);
            foreach (var view in results.GroupBy(r => r.View).OrderBy(v => v.Key switch { "rgb" => 0, "flow" => 1, _ => 2 }))
            {
                ResultStatus[] reference = spec.Baseline.Count == 0 || baseline == text ? [] : [.. byCell.GetValueOrDefault(baseline, []).Where(r => r.View == view.Key)];
                MeasureStatus? Measure(Func<ResultStatus, string?> of) => MeasureOf([.. view.Select(of).OfType<string>().Select(Parse)], [.. reference.Select(of).OfType<string>().Select(Parse)]);
                rows.Add(new BenchmarkRow
                {
                    Cell = EventRecorder.Truncate(text, 1024),
                    View = view.Key,
                    Seeds = view.Count(),
                    Baseline = spec.Baseline.Count > 0 && baseline == text ? true : null,
                    LinearProbeTop1 = Measure(r => r.LinearProbeTop1),
                    FinetuneTop1 = Measure(r => r.FinetuneTop1),
                    RecallAt1 = Measure(r => r.RecallAt1),
                    RecallAt5 = Measure(r => r.RecallAt5),
                    RecallAt10 = Measure(r => r.RecallAt10),
                });
            }
        }

        return rows.Count > MaximumRows ? (rows[..MaximumRows], true) : (rows, false);
    }

    private static double Parse(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private static MeasureStatus? MeasureOf(double[] values, double[] reference)
    {
        if (values.Length == 0)
        {
            return null;
        }

        double mean = values.Average();
        double? std = Statistics.StandardDeviation(values);
        return new MeasureStatus
        {
            Mean = Text(mean, "0.######"),
            Std = std is { } s ? Text(s, "0.######") : null,
            Difference = reference.Length > 0 ? Text(mean - reference.Average(), "+0.######;-0.######;0") : null,
            Text = std is { } deviation ? $"{Text(100 * mean, "0.0")} \u00b1 {Text(100 * deviation, "0.0")}" : Text(100 * mean, "0.0"),
        };
    }

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string? Best(IReadOnlyList<BenchmarkRow> rows)
    {
        foreach ((string name, Func<BenchmarkRow, MeasureStatus?> measure) in new (string, Func<BenchmarkRow, MeasureStatus?>)[] { ("finetune", r => r.FinetuneTop1), ("linear", r => r.LinearProbeTop1), ("R@1", r => r.RecallAt1) })
        {
            BenchmarkRow? best = rows.Where(r => measure(r) != null).MaxBy(r => Parse(measure(r)!.Mean));
            if (best != null)
            {
                return EventRecorder.Truncate($"{name} {measure(best)!.Text} ({(best.Cell.Length > 0 ? best.Cell + ", " : "")}{best.View})", 253);
            }
        }

        return null;
    }
}
