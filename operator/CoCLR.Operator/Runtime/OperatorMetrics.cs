// Why this exists: what operators watch, with the vocabulary of controller-runtime and client-go, under the prefix coclr_.
using System.Diagnostics.Metrics;

namespace CoCLR.Operator.Runtime;

/// <summary>The operator's instruments. No instrument carries the name of an experiment.</summary>
public static class OperatorMetrics
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "CoCLR.Operator";

    /// <summary>The meter.</summary>
    public static Meter Meter { get; } = new(MeterName);

    /// <summary>Reconciles by controller and result.</summary>
    public static Counter<long> Reconciles { get; } = Meter.CreateCounter<long>("coclr.reconcile", null, "Reconciles by result.");

    /// <summary>Time of a reconcile.</summary>
    public static Histogram<double> ReconcileDuration { get; } =
        Meter.CreateHistogram<double>("coclr.reconcile.duration", "s", "Time of one reconcile.");

    /// <summary>Writes to the API server.</summary>
    public static Counter<long> ApiWrites { get; } =
        Meter.CreateCounter<long>("coclr.api.writes", null, "Writes to the API server by resource and result.");

    /// <summary>Restarts of stages.</summary>
    public static Counter<long> Restarts { get; } =
        Meter.CreateCounter<long>("coclr.experiment.restarts", null, "Restarts of stages by reason.");

    /// <summary>Time from an experiment's creation until its first pod runs.</summary>
    public static Histogram<double> QueueWait { get; } =
        Meter.CreateHistogram<double>("coclr.experiment.queue.wait", "s", "Time from creation until the first pod runs.");

    /// <summary>GPU seconds by outcome.</summary>
    public static Counter<double> GpuSeconds { get; } =
        Meter.CreateCounter<double>("coclr.gpu.seconds", null, "GPU seconds of finished stages by outcome.");

    /// <summary>Progress pushes by result.</summary>
    public static Counter<long> ProgressPushes { get; } =
        Meter.CreateCounter<long>("coclr.progress.pushes", null, "Progress pushes of pods by result.");
}
