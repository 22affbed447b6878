// Why this exists: experiments and suites as they are cached: metadata read, spec and status kept as bytes, so that an object nobody can
// read affects only itself.
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Core.Manifests.Status;

namespace CoCLR.Operator.Api;

/// <summary>A custom resource with a spec and a status.</summary>
/// <typeparam name="TSpec">Type of the spec.</typeparam>
/// <typeparam name="TStatus">Type of the status.</typeparam>
public sealed record CustomResource<TSpec, TStatus> : ICachedObject
    where TSpec : class
    where TStatus : class, new()
{
    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>The spec as stored.</summary>
    public required ReadOnlyMemory<byte> SpecJson { get; init; }

    /// <summary>The status as stored.</summary>
    public required ReadOnlyMemory<byte> StatusJson { get; init; }

    /// <summary>State in one word, for gauges.</summary>
    public string? State { get; init; }

    /// <summary>Reason of the condition Ready.</summary>
    public string? Reason { get; init; }

    /// <summary>Whether it has ended.</summary>
    public bool Finished => State is nameof(ExperimentState.Succeeded) or nameof(ExperimentState.Failed);

    /// <summary>Value of spec.managedBy.</summary>
    public string? ManagedBy { get; init; }

    /// <summary>The spec, or why it cannot be read.</summary>
    public (TSpec? Spec, string? Problem) ParseSpec()
    {
        try
        {
            return JsonSerializer.Deserialize<TSpec>(SpecJson.Span, CoclrJson.Compact) is { } spec
                ? (spec, null)
                : (null, "spec is missing");
        }
        catch (JsonException error)
        {
            return (null, $"spec{error.Path?.TrimStart('$')} cannot be read by this version: {error.Message}");
        }
    }

    /// <summary>What is wrong with the spec's single fields; unknown fields of a newer version are no problem.</summary>
    /// <param name="schema">Schema of the spec.</param>
    public IReadOnlyList<ManifestProblem> CheckFields(SchemaNode schema)
        =>
            [
                .. SchemaValidator.Check(System.Text.Json.Nodes.JsonNode.Parse(SpecJson.Span), schema, "spec")
                    .Where(p => !p.Message.StartsWith("unknown field", StringComparison.Ordinal))];

    /// <summary>The status; an empty one when it is missing or unreadable, because the operator makes it anew anyway.</summary>
    public TStatus ParseStatus()
    {
        try
        {
            return JsonSerializer.Deserialize<TStatus>(StatusJson.Span, CoclrJson.Compact) ?? new TStatus();
        }
        catch (JsonException)
        {
            return new TStatus();
        }
    }
}

/// <summary>Reads custom resources.</summary>
public static class CustomResource
{
    /// <summary>Reads raw JSON.</summary>
    /// <typeparam name="TSpec">Type of the spec.</typeparam>
    /// <typeparam name="TStatus">Type of the status.</typeparam>
    /// <param name="item">The object.</param>
    /// <param name="propagation">Labels and annotations of others that are kept, for its children.</param>
    public static CustomResource<TSpec, TStatus> Read<TSpec, TStatus>(JsonElement item, Propagation? propagation = null)
        where TSpec : class
        where TStatus : class, new()
    {
        ChildCondition? ready = item.Child("status") is { } status
            ? ChildCondition.Of(status, ConditionTypes.Ready, "False") ?? ChildCondition.Of(status, ConditionTypes.Ready)
            : null;
        return new CustomResource<TSpec, TStatus>
        {
            Meta = ObjectMeta.Read(
                item,
                key => key.StartsWith("coclr.dev/", StringComparison.Ordinal) || propagation?.Annotation(key) == true,
                propagation == null ? null : propagation.Label),
            SpecJson = Bytes(item.Child("spec")),
            StatusJson = Bytes(item.Child("status")),
            State = item.Child("status")?.Text("state"),
            Reason = ready?.Reason,
            ManagedBy = item.Child("spec")?.Text("managedBy"),
        };
    }

    private static ReadOnlyMemory<byte> Bytes(JsonElement? element) =>
        element is { } value ? JsonSerializer.SerializeToUtf8Bytes(value) : "null"u8.ToArray();
}
