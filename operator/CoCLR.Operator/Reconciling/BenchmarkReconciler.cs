// Why this exists: a suite's whole behaviour as one pure function: which experiments should exist, what the suite's state is, and its
// result table.
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
public sealed record Expansion(
    BenchmarkSpec? Spec, IReadOnlyList<MatrixExperiment> Experiments, string? Reason = null, string? Problem = null)
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

    /// <summary>What of a suite's labels and annotations its experiments get.</summary>
    public Propagation Propagation { get; init; } = new();

    /// <summary>Writes of this reconcile that the API server refused.</summary>
    public IReadOnlyList<Refusal> Refusals { get; init; } = [];

    /// <summary>Now.</summary>
    public required DateTimeOffset Now { get; init; }
}

/// <summary>Reconciles suites.</summary>
public static class BenchmarkReconciler
{
    private const int MaximumRows = 256;

    /// <summary>Decides what should be.</summary>
    /// <param name="observed">What is observed.</param>
    public static Decision<BenchmarkStatus> Reconcile(BenchmarkObservation observed)
    {
        ObjectMeta meta = observed.Benchmark.Meta;
        BenchmarkStatus known = observed.Benchmark.ParseStatus();
        if (meta.Deleting != null)
        {
            return new Decision<BenchmarkStatus>();
        }

        if (observed.Expansion.Spec is not { } spec)
        {
            return Refused(known, observed, observed.Expansion.Reason!, observed.Expansion.Problem!, accepted: false);
        }

        string[] foreign = [
            .. observed.Expansion.Experiments.Where(
                e => observed.Experiment(e.Name) is { } there && there.Meta.Controller?.Uid != meta.Uid && !Predecessor(there.Meta, meta))
                .Select(e => e.Name)];
        if (foreign.Length > 0)
        {
            return Refused(
                known,
                observed,
                ConditionReasons.NameConflict,
                $"the experiment {foreign[0]}{(foreign.Length > 1 ? $" and {foreign.Length - 1} more" : "")} of this namespace belongs to "
                    + $"something else; delete it and the suite goes on by itself",
                accepted: true);
        }

        return Decide(known, spec, observed);
    }

    private static bool Predecessor(ObjectMeta child, ObjectMeta suite) =>
        child.Deleting != null || (child.Controller is { Kind: ApiNames.Benchmark } owner && owner.Name == suite.Key.Name);

    private static Decision<BenchmarkStatus> Decide(BenchmarkStatus known, BenchmarkSpec spec, BenchmarkObservation observed)
    {
        ObjectMeta meta = observed.Benchmark.Meta;
        var children = observed.Children.ToDictionary(c => c.Meta.Key.Name);
        var wanted = observed.Expansion.Experiments;
        var states = wanted.Select(
            e => (Experiment: e, Child: children.GetValueOrDefault(e.Name), State: StateOf(children.GetValueOrDefault(e.Name)))).ToArray();
        int succeeded =
            states.Count(s => s.State == ExperimentState.Succeeded), failed = states.Count(s => s.State == ExperimentState.Failed);
        bool stop = failed > 0 && spec.FailurePolicy == FailurePolicy.Stop;
        var active = states.Where(s => s.Child != null && s.State is not (ExperimentState.Succeeded or ExperimentState.Failed)).ToArray();
        int pending = states.Count(s => s.Child == null);
        bool suspend = spec.Suspend || stop;

        DesiredWrite.Create[] create = suspend || observed.Refusals.Count > 0 ? [] :
        [
            .. states.Where(s => s.Child == null && observed.Experiment(s.Experiment.Name) == null)
                .Take(Math.Max(0, spec.Parallelism - active.Length))
                .Select(s => Child(meta, s.Experiment, spec, observed.Propagation)),
        ];
        Leftovers leftovers = Leftovers.Of(
            [.. children.Values.Where(c => wanted.All(w => w.Name != c.Meta.Key.Name) && c.Meta.Deleting == null)], spec.Prune);
        DesiredWrite.Change?[] change =
        [
            .. leftovers.Stop.Select(c => Change(c, new JsonObject { ["suspend"] = true })),
            .. active.Select(s => Change(s.Child!, PatchOf(s.Child!, s.Experiment.Spec, suspend || spec.Template.Suspend))),
        ];
        (IReadOnlyList<BenchmarkRow> rows, bool truncated) =
            Table(states.Select(s => (s.Experiment, s.State == ExperimentState.Succeeded ? s.Child!.ParseStatus() : null)), spec);

        bool done = stop ? active.All(a => a.State == ExperimentState.Suspended)
            && create.Length == 0 : succeeded + failed == states.Length;
        var statuses = states.Where(s => s.Child != null).ToDictionary(s => s.Experiment.Name, s => s.Child!.ParseStatus());
        IReadOnlyList<ExpectationOutcome> outcomes = Acceptance.Judge(
            spec,
            wanted,
            (e, view, measure) => statuses.GetValueOrDefault(e.Name) is { State: ExperimentState.Succeeded } status
                ? Acceptance.Value(status.Results, view, measure)
                : null,
            e => statuses.GetValueOrDefault(e.Name)?.State is ExperimentState.Succeeded or ExperimentState.Failed);
        BenchmarkStatus next = known with
        {
            ObservedGeneration = meta.Generation,
            Expectations = [
                .. outcomes.Take(64)
                    .Select(o => new ExpectationStatus { Met = StatusOf(o.Met), Text = EventRecorder.Truncate(o.Text, 512) })],
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
        next = Describe(next, spec, [.. active.Select(a => a.Child!)], done, outcomes, observed);
        List<ObjectEvent> events = [.. leftovers.Events];
        if (next.State != known.State
            && next.State is ExperimentState.Succeeded or ExperimentState.Failed or ExperimentState.Suspended or ExperimentState.Stalled)
        {
            Condition ready = next.Condition(ConditionTypes.Ready)!;
            events.Add(next.State is ExperimentState.Failed or ExperimentState.Stalled
                ? ObjectEvent.Warning(next.State == ExperimentState.Failed ? nameof(ExperimentState.Failed) : ready.Reason, ready.Message)
                : ObjectEvent.Normal(next.State.ToString()!, ready.Message));
        }

        if (observed.Refusals is [var refusal, ..] && known.Condition(ConditionTypes.Ready)?.Reason != refusal.Reason)
        {
            events.Add(ObjectEvent.Warning(refusal.Reason, refusal.Message));
        }

        return new Decision<BenchmarkStatus>
        {
            Writes =
            [
                .. create, .. change.OfType<DesiredWrite.Change>(),
                .. leftovers.Delete.Select(c => new DesiredWrite.Delete(ResourceKind.Experiment, c.Meta.Key, c.Meta.Uid))
            ],
            Status = next,
            Events = events,
            Again = observed.Refusals.Count > 0 ? Refusal.Retry : null,
        };
    }

    /// <summary>What becomes of the experiments that an edit of the suite no longer names.</summary>
    private sealed record Leftovers(
        IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> Delete,
        IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> Stop,
        IReadOnlyList<ObjectEvent> Events)
    {
        public static Leftovers Of(IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> unnamed, PrunePolicy policy)
        {
            // What has started has checkpoints even where it has no results yet.
            var started = unnamed.Where(c => c.Finished || c.ParseStatus() is { StartTime: not null } or { Results.Count: > 0 }).ToArray();
            var delete = policy == PrunePolicy.Delete ? unnamed : [.. unnamed.Except(started)];
            var stop = policy == PrunePolicy.Delete ? [] : started.Where(c => !c.Finished && c.ParseSpec().Spec is { Suspend: false })
                .ToArray();
            var lost = delete.Where(c => c.ParseStatus().Results.Count > 0).ToArray();
            var events = new List<ObjectEvent>();
            if (delete.Count > 0)
            {
                events.Add(lost.Length > 0
                    ? ObjectEvent.Warning("Pruned", $"deleted, as spec.prune: delete asks, because the suite no longer names them: "
                        + $"{Names(delete)}; the results of {Names(lost)} are gone with them")
                    : ObjectEvent.Normal("Pruned", $"deleted because the suite no longer names them, without results: {Names(delete)}"));
            }

            if (stop.Length > 0)
            {
                events.Add(ObjectEvent.Warning("Stopped", $"suspended because the suite no longer names them: {Names(stop)}; their "
                    + $"checkpoints are kept (spec.prune: delete would delete them)"));
            }

            return new Leftovers(delete, stop, events);
        }

        private static string Names(IReadOnlyCollection<CustomResource<ExperimentSpec, ExperimentStatus>> experiments) =>
            string.Join(", ", experiments.Take(8).Select(e => e.Meta.Key.Name))
                + (experiments.Count > 8 ? $" and {experiments.Count - 8} more" : "");
    }

    private static ExperimentState StateOf(CustomResource<ExperimentSpec, ExperimentStatus>? child) =>
        Enum.TryParse(child?.State, out ExperimentState state) ? state : ExperimentState.Pending;

    private static ConditionStatus StatusOf(bool? met) =>
        met switch { true => ConditionStatus.True, false => ConditionStatus.False, null => ConditionStatus.Unknown };

    /// <summary>What the suite expects and how that stands, in words; the worst first.</summary>
    private static (string Reason, string Message) Acceptable(IReadOnlyList<ExpectationOutcome> outcomes) => Acceptance.All(outcomes) switch
    {
        true => (ConditionReasons.ExpectationsMet, $"{outcomes.Count} of {outcomes.Count} expectations are met"),
        false => (ConditionReasons.ExpectationsNotMet, string.Join("; ", outcomes.Where(o => o.Met == false).Take(8).Select(o => o.Text))),
        null => (ConditionReasons.NotFinished, $"{outcomes.Count(o => o.Met == true)} of {outcomes.Count} expectations are met so far"),
    };

    private static BenchmarkStatus Describe(
        BenchmarkStatus next,
        BenchmarkSpec spec,
        IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> active,
        bool done,
        IReadOnlyList<ExpectationOutcome> outcomes,
        BenchmarkObservation observed)
    {
        int training = active.Count(c => StateOf(c) == ExperimentState.Training);
        var conditions = new ConditionSet(observed.Benchmark.ParseStatus().Conditions, observed.Benchmark.Meta.Generation, observed.Now)
            .True(ConditionTypes.Accepted, ConditionReasons.Valid, $"the suite makes {next.Total} experiments")
            .Set(
                ConditionTypes.Running,
                training > 0 ? ConditionStatus.True : ConditionStatus.False,
                training > 0 ? ConditionReasons.Training : ConditionReasons.NotRunning,
                $"{training} experiments train");
        if (outcomes.Count > 0)
        {
            (string why, string words) = Acceptable(outcomes);
            conditions.Set(ConditionTypes.Met, StatusOf(Acceptance.All(outcomes)), why, words);
        }

        string counts = $"{next.Succeeded} succeeded, {next.Failed} failed, {next.Active} active{Detail(active)}, {next.Pending} pending";
        if (done)
        {
            (string Reason, string Message)? failure = next.Failed > 0
                ? (ConditionReasons.ExperimentsFailed, counts)
                : Acceptance.All(outcomes) == false
                ? Acceptable(outcomes)
                : null;
            return failure is { } failed
                ? next with
                {
                    State = ExperimentState.Failed,
                    Conditions = conditions.False(ConditionTypes.Ready, failed.Reason, failed.Message)
                        .True(ConditionTypes.Stalled, failed.Reason, failed.Message)
                        .False(ConditionTypes.Succeeded, failed.Reason, failed.Message).Build(),
                }
                : next with
                {
                    State = ExperimentState.Succeeded,
                    Conditions = conditions.True(ConditionTypes.Ready, ConditionReasons.Succeeded, counts)
                        .True(ConditionTypes.Succeeded, ConditionReasons.Succeeded, counts).Build(),
                };
        }

        conditions.Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet");
        if (spec.Suspend && active.All(c => StateOf(c) == ExperimentState.Suspended))
        {
            conditions.True(ConditionTypes.Ready, ConditionReasons.Suspended, $"suspended: {counts}")
                .True(ConditionTypes.Suspended, ConditionReasons.Suspended, "no experiment runs");
            return next with { State = ExperimentState.Suspended, Conditions = conditions.Build() };
        }

        (ExperimentState state, string reason, string message) = observed.Refusals is [var refused, ..]
            ? (
                spec.Suspend ? ExperimentState.Suspending : training > 0 ? ExperimentState.Training : ExperimentState.Waiting,
                refused.Reason,
                $"{refused.Message} ({counts})")
            : spec.Suspend ? (ExperimentState.Suspending, ConditionReasons.Suspending, counts)
            : training > 0 ? (ExperimentState.Training, ConditionReasons.Progressing, counts)
            : Waiting(active, counts, room: next.Active > active.Count);
        conditions.False(ConditionTypes.Ready, reason, message)
            .True(state == ExperimentState.Stalled ? ConditionTypes.Stalled : ConditionTypes.Reconciling, reason, message);
        return next with { State = state, Conditions = conditions.Build() };
    }

    /// <summary>What the active experiments do, such as " (1 training, 1 queued)".</summary>
    private static string Detail(IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> active) => active.Count == 0 ? "" :
        $" ({string.Join(", ", active.GroupBy(StateOf).OrderBy(g => g.Key).Select(g => $"{g.Count()} {g.Key.ToString().ToLowerInvariant()}"))})";

    /// <summary>Why nothing trains: the words of the first experiment that says why it waits.</summary>
    private static (ExperimentState State, string Reason, string Message) Waiting(
        IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>> active, string counts, bool room)
    {
        var first = active.Select(c => (c.Meta.Key.Name, State: StateOf(c), Ready: c.ParseStatus().Condition(ConditionTypes.Ready)))
            .FirstOrDefault(c => c.Ready?.Status == ConditionStatus.False);
        if (room || first.Ready == null)
        {
            return (ExperimentState.Starting, ConditionReasons.Progressing, counts);
        }

        ExperimentState state = active.All(c => StateOf(c) == first.State) ? first.State : ExperimentState.Starting;
        return (state, first.Ready.Reason, EventRecorder.Truncate($"{counts}; {first.Name}: {first.Ready.Message}", 2048));
    }

    private static Decision<BenchmarkStatus> Refused(
        BenchmarkStatus known, BenchmarkObservation observed, string reason, string message, bool accepted)
    {
        var conditions = new ConditionSet(known.Conditions, observed.Benchmark.Meta.Generation, observed.Now)
            .False(ConditionTypes.Ready, reason, message)
            .True(ConditionTypes.Stalled, reason, message)
            .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet")
            .Set(
                ConditionTypes.Accepted,
                accepted ? ConditionStatus.True : ConditionStatus.False,
                accepted ? ConditionReasons.Valid : reason,
                accepted ? "the spec is valid" : message)
            .False(ConditionTypes.Running, ConditionReasons.NotRunning, message);
        return new Decision<BenchmarkStatus>
        {
            Status = known with
            {
                ObservedGeneration = observed.Benchmark.Meta.Generation,
                State = ExperimentState.Stalled,
                Conditions = conditions.Build()
            },
            Events = known.Condition(ConditionTypes.Stalled)?.Reason == reason ? [] : [ObjectEvent.Warning(reason, message)],
            Again = accepted ? TimeSpan.FromSeconds(30) : null,
        };
    }

    private static DesiredWrite.Create Child(ObjectMeta suite, MatrixExperiment experiment, BenchmarkSpec spec, Propagation propagation)
    {
        // Experiments of a suite stay as long as the suite: one that its own TTL removed would be made again.
        JsonObject json = JsonSerializer.SerializeToNode(
            experiment.Spec with { TtlSecondsAfterFinished = null, Suspend = spec.Template.Suspend }, CoclrJson.Compact)!.AsObject();
        JsonObject labels = JobBuilder.Allowed(suite.Labels, propagation.Label);
        labels["app.kubernetes.io/name"] = "coclr-experiment";
        labels["app.kubernetes.io/instance"] = experiment.Name;
        labels["app.kubernetes.io/component"] = "experiment";
        labels["app.kubernetes.io/part-of"] = "coclr-platform";
        labels["app.kubernetes.io/managed-by"] = Labels.Manager;
        labels[Labels.Benchmark] = ChildNames.LabelValue(suite.Key.Name);
        labels[Labels.BenchmarkUid] = suite.Uid;
        if (suite.Label(Labels.QueuePriority) is { } priority)
        {
            labels[Labels.QueuePriority] = priority;
        }

        JsonObject annotations = JobBuilder.Allowed(suite.Annotations, propagation.Annotation);
        annotations[Labels.Cell] =
            BenchmarkRules.CellText(experiment.Cell) + $"{(experiment.Cell.Count > 0 ? ", " : "")}seed={experiment.Seed}";
        return new DesiredWrite.Create(ResourceKind.Experiment, experiment.Name, new JsonObject
        {
            ["apiVersion"] = ApiNames.ApiVersion,
            ["kind"] = ApiNames.Experiment,
            ["metadata"] = new JsonObject
            {
                ["name"] = experiment.Name,
                ["namespace"] = suite.Key.Namespace,
                ["labels"] = labels,
                ["annotations"] = annotations,
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
        });
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

        foreach ((string name, JsonNode? value) in MutableChanges(Json(spec), Json(wanted), SchemaModel.Experiment))
        {
            patch[name] = value?.DeepClone();
        }

        return patch.Count == 0 ? null : patch;
    }

    private static JsonObject Json(ExperimentSpec spec) =>
        JsonSerializer.SerializeToNode(spec with { Suspend = false, TtlSecondsAfterFinished = null }, CoclrJson.Compact)!.AsObject();

    /// <summary>A merge patch of the mutable fields that differ.</summary>
    private static JsonObject MutableChanges(JsonObject current, JsonObject wanted, SchemaNode schema, bool mutable = false)
    {
        var patch = new JsonObject();
        foreach (SchemaField field in schema.Fields)
        {
            (JsonNode? before, JsonNode? after) = (current[field.Name], wanted[field.Name]);
            if (before is JsonObject inner && after is JsonObject wantedInner && field.Node.Type == SchemaType.Object)
            {
                if (MutableChanges(inner, wantedInner, field.Node, mutable || field.Mutable) is { Count: > 0 } changes)
                {
                    patch[field.Name] = changes;
                }
            }
            else if ((mutable || field.Mutable) && !JsonNode.DeepEquals(before, after))
            {
                patch[field.Name] = after?.DeepClone();
            }
        }

        return patch;
    }

    private static DesiredWrite.Change? Change(CustomResource<ExperimentSpec, ExperimentStatus> child, JsonObject? spec) =>
        spec == null ? null : new DesiredWrite.Change(ResourceKind.Experiment, child.Meta, new JsonObject { ["spec"] = spec });

    /// <summary>The result table: one row for each cell and view, over the seeds, compared with the baseline.</summary>
    /// <param name="experiments">The suite's experiments, with the status of those that succeeded.</param>
    /// <param name="spec">The suite.</param>
    public static (IReadOnlyList<BenchmarkRow> Rows, bool Truncated) Table(
        IEnumerable<(MatrixExperiment Experiment, ExperimentStatus? Status)> experiments, BenchmarkSpec spec)
    {
        var cells = experiments.GroupBy(e => BenchmarkRules.CellText(e.Experiment.Cell)).Select(
            g => (
                Text: g.Key,
                g.First().Experiment.Cell,
                Results: g.Where(e => e.Status != null).SelectMany(e => e.Status!.Results).ToArray())).ToArray();
        var byCell = cells.ToDictionary(c => c.Text, c => c.Results);
        var rows = new List<BenchmarkRow>();
        foreach ((string text, IReadOnlyDictionary<string, string> cell, ResultStatus[] results) in cells)
        {
            string baseline = BenchmarkRules.BaselineText(cell, spec.Baseline);
            foreach (var view in results.GroupBy(r => r.View).OrderBy(v => v.Key switch { "rgb" => 0, "flow" => 1, _ => 2 }))
            {
                ResultStatus[] reference = spec.Baseline.Count == 0
                    || baseline == text ? [] : [.. byCell.GetValueOrDefault(baseline, []).Where(r => r.View == view.Key)];
                MeasureStatus? Measure(Func<ResultStatus, string?> of) => MeasureOf(
                    [.. view.Select(of).OfType<string>().Select(Parse)], [.. reference.Select(of).OfType<string>().Select(Parse)]);
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
                return EventRecorder.Truncate(
                    $"{name} {measure(best)!.Text} ({(best.Cell.Length > 0 ? best.Cell + ", " : "")}{best.View})", 253);
            }
        }

        return null;
    }
}
