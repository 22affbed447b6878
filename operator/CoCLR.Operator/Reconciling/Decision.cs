// Why this exists: what a reconcile wants, as a value: reconcilers decide, one controller writes.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Api;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Reconciling;

/// <summary>A write that a reconcile wants.</summary>
public abstract record DesiredWrite
{
    /// <summary>What is written to, such as jobs/first-decode-1a2b3c.</summary>
    public abstract string Target { get; }

    /// <summary>Make a child when it is missing.</summary>
    /// <param name="Kind">Kind.</param>
    /// <param name="Name">Name.</param>
    /// <param name="Object">The whole child.</param>
    public sealed record Create(ResourceKind Kind, string Name, JsonNode Object) : DesiredWrite
    {
        /// <inheritdoc/>
        public override string Target => $"{Kind.Plural}/{Name}";
    }

    /// <summary>Change a few fields of a child.</summary>
    /// <param name="Kind">Kind.</param>
    /// <param name="Meta">Metadata of the child.</param>
    /// <param name="Fields">A JSON merge patch.</param>
    public sealed record Change(ResourceKind Kind, ObjectMeta Meta, JsonObject Fields) : DesiredWrite
    {
        /// <inheritdoc/>
        public override string Target => $"{Kind.Plural}/{Meta.Key.Name}";
    }

    /// <summary>Suspend or resume a Job.</summary>
    /// <param name="Job">The Job.</param>
    /// <param name="Suspend">Whether its pods stop.</param>
    public sealed record SetSuspend(JobView Job, bool Suspend) : DesiredWrite
    {
        /// <inheritdoc/>
        public override string Target => $"{ResourceKind.Job.Plural}/{Job.Meta.Key.Name}";
    }

    /// <summary>Delete an object.</summary>
    /// <param name="Kind">Kind.</param>
    /// <param name="Key">Name.</param>
    /// <param name="Uid">Unique id.</param>
    public sealed record Delete(ResourceKind Kind, ObjectKey Key, string Uid) : DesiredWrite
    {
        /// <inheritdoc/>
        public override string Target => $"{Kind.Plural}/{Key.Name}";
    }

    /// <summary>
    /// Give up a pod whose node is lost, as the garbage collector of pods does: failed by a disruption, then deleted without waiting for
    /// its node.
    /// </summary>
    /// <param name="Pod">The pod.</param>
    /// <param name="Message">Why, for people.</param>
    public sealed record GiveUp(PodView Pod, string Message) : DesiredWrite
    {
        /// <inheritdoc/>
        public override string Target => $"{ResourceKind.Pod.Plural}/{Pod.Meta.Key.Name}";
    }
}

/// <summary>A write that the API server refused.</summary>
/// <param name="Target">What was written to, such as jobs/first-decode-1a2b3c.</param>
/// <param name="Words">The server's words.</param>
public sealed record Refusal(string Target, string Words)
{
    /// <summary>Time after which a refused write is tried again: nothing tells when its cause has gone.</summary>
    public static TimeSpan Retry { get; } = TimeSpan.FromSeconds(10);

    /// <summary>Why, in one word.</summary>
    public string Reason =>
        Words.Contains("exceeded quota", StringComparison.Ordinal) || Words.Contains("failed quota", StringComparison.Ordinal)
        ? CoCLR.Core.Manifests.Status.ConditionReasons.QuotaExceeded
        : CoCLR.Core.Manifests.Status.ConditionReasons.Refused;

    /// <summary>Why, for people.</summary>
    public string Message => $"the API server refuses {Target}: {Words}; it is tried again every {Retry.TotalSeconds:0} s";
}

/// <summary>What a reconcile wants.</summary>
/// <typeparam name="TStatus">Type of the status.</typeparam>
public sealed record Decision<TStatus>
    where TStatus : class
{
    /// <summary>Writes, in order.</summary>
    public IReadOnlyList<DesiredWrite> Writes { get; init; } = [];

    /// <summary>Children that must be there although no cache shows them; they are looked up before anything else is decided.</summary>
    public IReadOnlyList<DesiredWrite.Create> Suspects { get; init; } = [];

    /// <summary>The status; null leaves it alone.</summary>
    public TStatus? Status { get; init; }

    /// <summary>Events.</summary>
    public IReadOnlyList<ObjectEvent> Events { get; init; } = [];

    /// <summary>When to look again without a change.</summary>
    public TimeSpan? Again { get; init; }
}
