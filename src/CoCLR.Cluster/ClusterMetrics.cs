// Why this exists: what a queue and a watch tell of themselves, with the vocabulary of controller-runtime and client-go, under the prefix
// coclr_.
using System.Diagnostics.Metrics;

namespace CoCLR.Cluster;

/// <summary>Instruments of queues and informers; a process that exports them adds <see cref="MeterName"/>.</summary>
public static class ClusterMetrics
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "CoCLR.Cluster";

    private static readonly Meter s_meter = new(MeterName);

    /// <summary>Additions to a queue.</summary>
    internal static Counter<long> QueueAdds { get; } =
        s_meter.CreateCounter<long>("coclr.workqueue.adds", null, "Names added to a work queue.");

    /// <summary>Retries of a queue.</summary>
    internal static Counter<long> QueueRetries { get; } =
        s_meter.CreateCounter<long>("coclr.workqueue.retries", null, "Names added again after a failure.");

    /// <summary>Time in a queue.</summary>
    internal static Histogram<double> QueueDuration { get; } =
        s_meter.CreateHistogram<double>("coclr.workqueue.queue.duration", "s", "Time a name waits in a work queue.");

    /// <summary>Time of work.</summary>
    internal static Histogram<double> WorkDuration { get; } =
        s_meter.CreateHistogram<double>("coclr.workqueue.work.duration", "s", "Time the work on a name takes.");

    /// <summary>Watches that ended.</summary>
    internal static Counter<long> WatchRestarts { get; } =
        s_meter.CreateCounter<long>("coclr.watch.restarts", null, "Watches that ended, by reason.");
}
