// Why this exists: what alerts ask of the experiments themselves: how many are in which state, which ones wait, are silent, or have failed.
using System.Diagnostics.Metrics;
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;

namespace CoCLR.Operator.Hosting;

/// <summary>Gauges of experiments. Only the leader has them: two replicas would count everything twice.</summary>
internal sealed class ExperimentGauges
{
    private static readonly TimeSpan FailureTold = TimeSpan.FromDays(1);
    private static readonly ExperimentState?[] Waiting =
        [
            null, ExperimentState.Pending, ExperimentState.Waiting, ExperimentState.Queued, ExperimentState.Starting,
            ExperimentState.Restarting, ExperimentState.Stalled
        ];

    private readonly Informer<CustomResource<ExperimentSpec, ExperimentStatus>> _experiments;
    private readonly Func<bool> _leads;
    private readonly TimeProvider _time;

    public ExperimentGauges(
        Meter meter, Informer<CustomResource<ExperimentSpec, ExperimentStatus>> experiments, Func<bool> leads, TimeProvider time)
    {
        _experiments = experiments;
        _leads = leads;
        _time = time;
        meter.CreateObservableGauge("coclr.experiments", States, null, "Experiments by state.");
        meter.CreateObservableGauge(
            "coclr.experiment.progress.age", ProgressAges, "s", "Time since a running experiment last told of progress.");
        meter.CreateObservableGauge(
            "coclr.experiment.pending",
            PendingTimes,
            "s",
            "Time since an experiment that is neither suspended nor over has had no running pod, by reason.");
        meter.CreateObservableGauge(
            "coclr.experiment.failed.age", FailureAges, "s", "Time since an experiment failed, for a day, by reason.");
    }

    private IEnumerable<CustomResource<ExperimentSpec, ExperimentStatus>> All => _leads() ? _experiments.All() : [];

    private IEnumerable<Measurement<int>> States() => All.GroupBy(e => e.State ?? nameof(ExperimentState.Pending))
        .Select(g => new Measurement<int>(g.Count(), new KeyValuePair<string, object?>("state", g.Key)));

    private IEnumerable<Measurement<double>> ProgressAges() =>
        from experiment in All
        where experiment.State == nameof(ExperimentState.Training)
        let told = experiment.ParseStatus().Progress?.UpdatedAt
        where told != null
        select Age(experiment, told.Value, null);

    private IEnumerable<Measurement<double>> PendingTimes() =>
        from experiment in All
        let status = experiment.Finished ? null : experiment.ParseStatus()
        where status != null && Waiting.Contains(status.State)
        select Age(
            experiment,
            status.Condition(ConditionTypes.Running)?.LastTransitionTime ?? experiment.Meta.Created,
            experiment.Reason ?? nameof(ExperimentState.Pending));

    private IEnumerable<Measurement<double>> FailureAges() =>
        from experiment in All
        where experiment.State == nameof(ExperimentState.Failed)
        let ended = experiment.ParseStatus().CompletionTime
        where ended > _time.GetUtcNow() - FailureTold
        select Age(experiment, ended.Value, experiment.Reason);

    private Measurement<double> Age(CustomResource<ExperimentSpec, ExperimentStatus> experiment, DateTimeOffset since, string? reason)
    {
        KeyValuePair<string, object?>[] labels =
            [new("namespace", experiment.Meta.Key.Namespace), new("experiment", experiment.Meta.Key.Name)];
        return new Measurement<double>(
            Math.Max(0, (_time.GetUtcNow() - since).TotalSeconds), reason == null ? labels : [.. labels, new("reason", reason)]);
    }
}
