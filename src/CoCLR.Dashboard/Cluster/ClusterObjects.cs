// Why this exists: of the cluster's objects only the few facts that pages show.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;

namespace CoCLR.Dashboard.Cluster;

/// <summary>An experiment in the cluster.</summary>
/// <param name="Namespace">Namespace.</param>
/// <param name="Name">Name.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Suspend">spec.suspend.</param>
/// <param name="Status">What the operator says.</param>
/// <param name="Spec">The spec; null when this version cannot read it.</param>
internal sealed record ClusterExperiment(string Namespace, string Name, DateTimeOffset Created, bool Suspend, ExperimentStatus Status, ExperimentSpec? Spec)
{
    private static readonly string[] TellingConditions = ["Accepted", "Admitted", "Stalled", "Ready", "Reconciling"];

    /// <summary>State in a word.</summary>
    public string State => Status.State?.ToString() ?? "Pending";

    /// <summary>Whether it has ended.</summary>
    public bool Over => Status.State is ExperimentState.Succeeded or ExperimentState.Failed;

    /// <summary>Why it waits or failed, in the words of the cluster.</summary>
    public string? Why => Status.State is ExperimentState.Succeeded or ExperimentState.Training ? null
        : TellingConditions.Select(Status.Condition).FirstOrDefault(c => c is { Message.Length: > 0 } && (c.Type is "Stalled" or "Reconciling" ? c.Status == ConditionStatus.True : c.Status != ConditionStatus.True))?.Message;

    /// <summary>Reads raw JSON.</summary>
    public static ClusterExperiment Read(JsonObject o) => new(
        o.Text("metadata", "namespace") ?? "", o.Text("metadata", "name") ?? "", o.Time("metadata", "creationTimestamp") ?? default,
        o["spec"]?["suspend"]?.GetValueKind() == JsonValueKind.True, Json<ExperimentStatus>(o["status"]) ?? new ExperimentStatus(), Json<ExperimentSpec>(o["spec"]));

    private static T? Json<T>(JsonNode? node)
        where T : class
    {
        try
        {
            return node?.Deserialize<T>(CoclrJson.Compact);
        }
        catch (JsonException)
        {
            return null; // of a newer version: what can be read is shown
        }
    }
}

/// <summary>A suite in the cluster.</summary>
internal sealed record ClusterBenchmark(string Namespace, string Name, string State, BenchmarkSpec? Spec)
{
    /// <summary>Reads raw JSON.</summary>
    public static ClusterBenchmark Read(JsonObject o)
    {
        BenchmarkSpec? spec = null;
        try
        {
            spec = o["spec"]?.Deserialize<BenchmarkSpec>(CoclrJson.Compact);
        }
        catch (JsonException)
        {
            // Of a newer version: its name and state are shown.
        }

        return new ClusterBenchmark(o.Text("metadata", "namespace") ?? "", o.Text("metadata", "name") ?? "", o.Text("status", "state") ?? "Pending", spec);
    }
}

/// <summary>A pod of a stage.</summary>
/// <param name="Namespace">Namespace.</param>
/// <param name="Name">Name.</param>
/// <param name="Uid">Unique id.</param>
/// <param name="Run">Run that it works for.</param>
/// <param name="Experiment">Its experiment.</param>
/// <param name="Stage">Its stage.</param>
/// <param name="Node">Node; null while it waits for one.</param>
/// <param name="Phase">Pending, Running, Succeeded, Failed.</param>
/// <param name="Gpus">GPUs it asks for.</param>
/// <param name="Why">Why it waits.</param>
internal sealed record ClusterPod(string Namespace, string Name, string Uid, string? Run, string? Experiment, string? Stage, string? Node, string Phase, int Gpus, string? Why)
{
    /// <summary>Reads raw JSON.</summary>
    public static ClusterPod Read(JsonObject o)
    {
        JsonObject? waiting = o["status"]?["containerStatuses"]?.AsArray().Select(c => c?["state"]?["waiting"] as JsonObject).FirstOrDefault(w => w != null);
        JsonObject? unscheduled = o["status"]?["conditions"]?.AsArray().OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == "PodScheduled" && c.Text("status") == "False");
        int gpus = (int)(o["spec"]?["containers"]?.AsArray().OfType<JsonObject>().Sum(c => Gpu.Count(c["resources"]?["limits"] as JsonObject)) ?? 0);
        return new ClusterPod(
            o.Text("metadata", "namespace") ?? "", o.Text("metadata", "name") ?? "", o.Text("metadata", "uid") ?? "",
            o.Text("metadata", "labels", "coclr.dev/run"), o.Text("metadata", "labels", "coclr.dev/experiment"), o.Text("metadata", "labels", "coclr.dev/stage"),
            o.Text("spec", "nodeName"), o.Text("status", "phase") ?? "Pending", gpus,
            unscheduled?.Text("message") ?? (waiting is null ? null : $"{waiting.Text("reason")}{(waiting.Text("message") is { } m ? $": {m}" : "")}"));
    }
}

/// <summary>A node.</summary>
/// <param name="Name">Name.</param>
/// <param name="Ready">Whether it takes pods.</param>
/// <param name="Gpus">GPUs it offers.</param>
/// <param name="GpuKind">Which, such as nvidia.com/gpu or the product's label.</param>
/// <param name="Cpu">Cores it offers.</param>
/// <param name="Memory">Memory it offers.</param>
/// <param name="Note">Cordoned, pressure, taints.</param>
internal sealed record ClusterNode(string Name, bool Ready, int Gpus, string? GpuKind, string Cpu, string Memory, string Note)
{
    /// <summary>Reads raw JSON.</summary>
    public static ClusterNode Read(JsonObject o)
    {
        JsonObject[] conditions = [.. o["status"]?["conditions"]?.AsArray().OfType<JsonObject>() ?? []];
        var offered = o["status"]?["allocatable"] as JsonObject;
        string?[] notes =
        [
            o["spec"]?["unschedulable"]?.GetValueKind() == JsonValueKind.True ? "cordoned" : null,
            .. conditions.Where(c => c.Text("type") != "Ready" && c.Text("status") == "True").Select(c => c.Text("type")),
            .. (o["spec"]?["taints"]?.AsArray().OfType<JsonObject>() ?? []).Select(t => $"{t.Text("key")}:{t.Text("effect")}"),
        ];
        return new ClusterNode(
            o.Text("metadata", "name") ?? "", conditions.Any(c => c.Text("type") == "Ready" && c.Text("status") == "True"), (int)Gpu.Count(offered),
            o.Text("metadata", "labels", "nvidia.com/gpu.product") ?? Gpu.Kind(offered), offered.Text("cpu") ?? "–", Quantity(offered.Text("memory")), string.Join(", ", notes.OfType<string>().Distinct()));
    }

    private static string Quantity(string? text) => text is { Length: > 2 } && text.EndsWith("Ki", StringComparison.Ordinal) && double.TryParse(text[..^2], CultureInfo.InvariantCulture, out double kib) ? Formatting.Text.Bytes(kib * 1024) : text ?? "–";
}

/// <summary>An event about an experiment or one of its pods and Jobs.</summary>
/// <param name="Namespace">Namespace.</param>
/// <param name="About">Kind and name of what it is about.</param>
/// <param name="Name">Name of what it is about.</param>
/// <param name="Warning">Whether it is a warning.</param>
/// <param name="Reason">Reason.</param>
/// <param name="Message">Words.</param>
/// <param name="At">When it was last seen.</param>
/// <param name="Count">How often.</param>
internal sealed record ClusterEvent(string Namespace, string About, string Name, bool Warning, string Reason, string Message, DateTimeOffset At, int Count)
{
    /// <summary>Reads raw JSON.</summary>
    public static ClusterEvent Read(JsonObject o) => new(
        o.Text("metadata", "namespace") ?? "", $"{o.Text("involvedObject", "kind")}", o.Text("involvedObject", "name") ?? "", o.Text("type") == "Warning", o.Text("reason") ?? "", o.Text("message") ?? "",
        o.Time("lastTimestamp") ?? o.Time("series", "lastObservedTime") ?? o.Time("eventTime") ?? o.Time("metadata", "creationTimestamp") ?? default,
        o["count"] is JsonValue count && count.TryGetValue(out int n) ? n : 1);
}

/// <summary>GPUs of any maker in a list of resources.</summary>
internal static class Gpu
{
    public static double Count(JsonObject? resources) => resources?.Where(r => IsGpu(r.Key)).Sum(r => double.TryParse(r.Value?.ToString(), CultureInfo.InvariantCulture, out double n) ? n : 0) ?? 0;

    public static string? Kind(JsonObject? resources) => resources?.Select(r => r.Key).FirstOrDefault(IsGpu);

    private static bool IsGpu(string name) => name.EndsWith("/gpu", StringComparison.Ordinal) || name.StartsWith("nvidia.com/mig-", StringComparison.Ordinal);
}

/// <summary>Reads JSON without typing it.</summary>
internal static class JsonPaths
{
    public static string? Text(this JsonNode? node, params string[] path)
    {
        foreach (string name in path)
        {
            node = (node as JsonObject)?[name];
        }

        return node is JsonValue value && value.GetValueKind() == JsonValueKind.String ? value.GetValue<string>() : null;
    }

    public static DateTimeOffset? Time(this JsonNode? node, params string[] path) =>
        DateTimeOffset.TryParse(node.Text(path), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time) ? time : null;
}
