// Why this exists: core events and `events.k8s.io` events are one table seen through two schemas.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>The two forms of an event.</summary>
public static class EventForms
{
    private static readonly (string Core, string Events)[] Names =
    [
        ("involvedObject", "regarding"), ("message", "note"), ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"), ("count", "deprecatedCount"), ("reportingComponent", "reportingController"),
    ];

    /// <summary>A core event as `events.k8s.io/v1`.</summary>
    public static JsonObject ToEventsGroup(JsonObject o) => Rename(o, "events.k8s.io/v1", true);

    /// <summary>An `events.k8s.io/v1` event as core event.</summary>
    public static JsonObject ToCore(JsonObject o) => Rename(o, "v1", false);

    private static JsonObject Rename(JsonObject o, string apiVersion, bool toEvents)
    {
        var copy = o.Copy();
        copy["apiVersion"] = apiVersion;
        foreach (var (core, events) in Names)
        {
            var (from, to) = toEvents ? (core, events) : (events, core);
            if (copy.TryGetPropertyValue(from, out var value))
            {
                copy.Remove(from);
                copy[to] = value;
            }
        }

        return copy;
    }
}
