// Why this exists: of the cluster's objects only the few facts that pages show.
using System.Globalization;
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;

namespace CoCLR.Dashboard.Cluster;

/// <summary>An experiment in the cluster.</summary>
/// <param name="Meta">Metadata.</param>
/// <param name="Suspend">spec.suspend.</param>
/// <param name="Status">What the operator says.</param>
/// <param name="Spec">The spec; null when this version cannot read it.</param>
internal sealed record ClusterExperiment(ObjectMeta Meta, bool Suspend, ExperimentStatus Status, ExperimentSpec? Spec) : ICachedObject
{
    private static readonly string[] TellingConditions = ["Accepted", "Admitted", "Stalled", "Ready", "Reconciling"];

    /// <summary>Namespace.</summary>
    public string Namespace => Meta.Key.Namespace;

    /// <summary>Name.</summary>
    public string Name => Meta.Key.Name;

    /// <summary>When it was made.</summary>
    public DateTimeOffset Created => Meta.Created;

    /// <summary>State in a word.</summary>
    public string State => Status.State?.ToString() ?? "Pending";

    /// <summary>Whether it has ended.</summary>
    public bool Over => Status.State is ExperimentState.Succeeded or ExperimentState.Failed;

    /// <summary>Why it waits or failed, in the words of the cluster.</summary>
    public string? Why => Status.State is ExperimentState.Succeeded or ExperimentState.Training
        ? null
        : TellingConditions.Select(Status.Condition).FirstOrDefault(c => c is { Message.Length: > 0 } && Tells(c))?.Message;

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static ClusterExperiment Read(JsonElement item) => new(
        ObjectMeta.Read(item), item.Child("spec")?.Flag("suspend") == true,
        Forgiving.Read<ExperimentStatus>(item.Child("status"))
            ?? new ExperimentStatus(), Forgiving.Read<ExperimentSpec>(item.Child("spec")));

    private static bool Tells(Condition condition) =>
        condition.Type is "Stalled" or "Reconciling" ? condition.Status == ConditionStatus.True : condition.Status != ConditionStatus.True;
}

/// <summary>A suite in the cluster.</summary>
/// <param name="Meta">Metadata.</param>
/// <param name="State">State in a word.</param>
/// <param name="Spec">The spec; null when this version cannot read it.</param>
internal sealed record ClusterBenchmark(ObjectMeta Meta, string State, BenchmarkSpec? Spec) : ICachedObject
{
    /// <summary>Name.</summary>
    public string Name => Meta.Key.Name;

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static ClusterBenchmark Read(JsonElement item) =>
        new(ObjectMeta.Read(item), item.Child("status")?.Text("state") ?? "Pending", Forgiving.Read<BenchmarkSpec>(item.Child("spec")));
}

/// <summary>A pod of a stage.</summary>
/// <param name="Meta">Metadata.</param>
/// <param name="Node">Node; null while it waits for one.</param>
/// <param name="Phase">Pending, Running, Succeeded, Failed.</param>
/// <param name="Gpus">GPUs it asks for.</param>
/// <param name="Why">Why it waits.</param>
internal sealed record ClusterPod(ObjectMeta Meta, string? Node, string Phase, int Gpus, string? Why) : ICachedObject
{
    /// <summary>Label of a stage's pods: the name of the stage.</summary>
    public const string StageLabel = "coclr.dev/stage";

    /// <summary>Namespace.</summary>
    public string Namespace => Meta.Key.Namespace;

    /// <summary>Name.</summary>
    public string Name => Meta.Key.Name;

    /// <summary>Run that it works for.</summary>
    public string? Run => Meta.Label("coclr.dev/run");

    /// <summary>Its experiment.</summary>
    public string? Experiment => Meta.Label("coclr.dev/experiment");

    /// <summary>Its stage.</summary>
    public string? Stage => Meta.Label(StageLabel);

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static ClusterPod Read(JsonElement item)
    {
        JsonElement spec = item.Child("spec") ?? default;
        JsonElement status = item.Child("status") ?? default;
        JsonElement? waiting = status.Items("containerStatuses").Select(c => c.At("state", "waiting")).FirstOrDefault(w => w != null);
        string? unscheduled = status.Items("conditions").Where(c => c.Text("type") == "PodScheduled" && c.Text("status") == "False")
            .Select(c => c.Text("message")).FirstOrDefault();
        return new ClusterPod(
            ObjectMeta.Read(item), spec.Text("nodeName"), status.Text("phase")
                ?? "Pending", (int)spec.Items("containers").Sum(c => Gpu.Count(c.At("resources", "limits"))),
            unscheduled ?? (waiting is { } why ? $"{why.Text("reason")}{(why.Text("message") is { } words ? $": {words}" : "")}" : null));
    }
}

/// <summary>A node.</summary>
/// <param name="Meta">Metadata.</param>
/// <param name="Ready">Whether it takes pods.</param>
/// <param name="Gpus">GPUs it offers.</param>
/// <param name="GpuKind">Which, such as nvidia.com/gpu or the product's label.</param>
/// <param name="Cpu">Cores it offers.</param>
/// <param name="Memory">Memory it offers.</param>
/// <param name="Note">Cordoned, pressure, taints.</param>
internal sealed record ClusterNode(
    ObjectMeta Meta, bool Ready, int Gpus, string? GpuKind, string Cpu, string Memory, string Note) : ICachedObject
{
    private const string ProductLabel = "nvidia.com/gpu.product";

    /// <summary>Name.</summary>
    public string Name => Meta.Key.Name;

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static ClusterNode Read(JsonElement item)
    {
        var meta = ObjectMeta.Read(item, labels: l => l == ProductLabel);
        JsonElement spec = item.Child("spec") ?? default;
        JsonElement[] conditions = [.. (item.Child("status") ?? default).Items("conditions")];
        JsonElement? offered = item.At("status", "allocatable");
        string?[] notes =
        [
            spec.Flag("unschedulable") == true ? "cordoned" : null,
            .. conditions.Where(c => c.Text("type") != "Ready" && c.Text("status") == "True").Select(c => c.Text("type")),
            .. spec.Items("taints").Select(t => $"{t.Text("key")}:{t.Text("effect")}"),
        ];
        return new ClusterNode(
            meta, conditions.Any(c => c.Text("type") == "Ready" && c.Text("status") == "True"), (int)Gpu.Count(offered),
            meta.Label(ProductLabel) ?? Gpu.Kind(offered), offered?.Text("cpu")
                ?? "–", Quantity(offered?.Text("memory")), string.Join(", ", notes.OfType<string>().Distinct()));
    }

    private static string Quantity(string? text) =>
        text is { Length: > 2 } && text.EndsWith("Ki", StringComparison.Ordinal)
            && double.TryParse(text[..^2], CultureInfo.InvariantCulture, out double kib)
            ? Formatting.Text.Bytes(kib * 1024)
            : text ?? "–";
}

/// <summary>An event about an experiment or one of its pods and Jobs.</summary>
/// <param name="Meta">Metadata.</param>
/// <param name="About">Kind of what it is about.</param>
/// <param name="Name">Name of what it is about.</param>
/// <param name="Warning">Whether it is a warning.</param>
/// <param name="Reason">Reason.</param>
/// <param name="Message">Words.</param>
/// <param name="At">When it was last seen.</param>
/// <param name="Count">How often.</param>
internal sealed record ClusterEvent(
    ObjectMeta Meta, string About, string Name, bool Warning, string Reason, string Message, DateTimeOffset At, int Count) : ICachedObject
{
    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static ClusterEvent Read(JsonElement item)
    {
        var meta = ObjectMeta.Read(item);
        JsonElement about = item.Child("involvedObject") ?? default;
        return new ClusterEvent(
            meta, about.Text("kind") ?? "", about.Text("name") ?? "", item.Text("type") == "Warning", item.Text("reason")
                ?? "", item.Text("message") ?? "",
            item.Time("lastTimestamp") ?? item.Child("series")?.Time("lastObservedTime") ?? item.Time("eventTime")
                ?? meta.Created, (int)(item.Number("count") ?? 1));
    }
}

/// <summary>GPUs of any maker in a list of resources.</summary>
internal static class Gpu
{
    public static double Count(JsonElement? resources) =>
        Of(resources).Sum(r => double.TryParse(r.Value.ToString(), CultureInfo.InvariantCulture, out double n) ? n : 0);

    public static string? Kind(JsonElement? resources) => Of(resources).Select(r => r.Name).FirstOrDefault();

    private static IEnumerable<JsonProperty> Of(JsonElement? resources) => resources is { ValueKind: JsonValueKind.Object } map
        ? map.EnumerateObject()
            .Where(r => r.Name.EndsWith("/gpu", StringComparison.Ordinal) || r.Name.StartsWith("nvidia.com/mig-", StringComparison.Ordinal))
        : [];
}

/// <summary>Reads parts of objects that may be of a newer version.</summary>
internal static class Forgiving
{
    /// <summary>The part; null where it is missing or this version cannot read it: what can be read is shown.</summary>
    public static T? Read<T>(JsonElement? part)
        where T : class
    {
        try
        {
            return part?.Deserialize<T>(CoclrJson.Compact);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
