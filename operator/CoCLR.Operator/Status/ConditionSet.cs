// Why this exists: conditions that are always kstatus-clean: Ready present, abnormal ones removed when false, times kept while nothing
// changes.
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Status;

/// <summary>Builds the conditions of a status.</summary>
/// <param name="known">Conditions as stored.</param>
/// <param name="generation">Generation of the spec.</param>
/// <param name="now">Now.</param>
public sealed class ConditionSet(IReadOnlyList<Condition> known, long generation, DateTimeOffset now)
{
    private static readonly string[] Order =
    [
        ConditionTypes.Ready, ConditionTypes.Reconciling, ConditionTypes.Stalled, ConditionTypes.Succeeded, ConditionTypes.Suspended,
        ConditionTypes.Accepted, ConditionTypes.Admitted, ConditionTypes.Running, ConditionTypes.Healthy, ConditionTypes.Interrupted, ConditionTypes.Met,
    ];

    private readonly Dictionary<string, Condition> _conditions = [];

    /// <summary>Sets a condition.</summary>
    /// <param name="type">Type.</param>
    /// <param name="status">Status.</param>
    /// <param name="reason">Reason; made into one CamelCase word when it is none.</param>
    /// <param name="message">Message.</param>
    public ConditionSet Set(string type, ConditionStatus status, string reason, string message)
    {
        if (status != ConditionStatus.True && ConditionTypes.AbnormalTrue.Contains(type))
        {
            _conditions.Remove(type);
            return this;
        }

        Condition? before = known.FirstOrDefault(c => c.Type == type);
        _conditions[type] = new Condition
        {
            Type = type,
            Status = status,
            ObservedGeneration = generation,
            LastTransitionTime = before?.Status == status ? before.LastTransitionTime : now,
            Reason = Word(reason),
            Message = EventRecorder.Truncate(message, 2048),
        };
        return this;
    }

    /// <summary>Sets a condition to True.</summary>
    /// <param name="type">Type.</param>
    /// <param name="reason">Reason.</param>
    /// <param name="message">Message.</param>
    public ConditionSet True(string type, string reason, string message) => Set(type, ConditionStatus.True, reason, message);

    /// <summary>Sets a condition to False.</summary>
    /// <param name="type">Type.</param>
    /// <param name="reason">Reason.</param>
    /// <param name="message">Message.</param>
    public ConditionSet False(string type, string reason, string message) => Set(type, ConditionStatus.False, reason, message);

    /// <summary>Keeps a condition as stored.</summary>
    /// <param name="type">Type.</param>
    public ConditionSet Keep(string type)
    {
        if (known.FirstOrDefault(c => c.Type == type) is { } before)
        {
            Set(type, before.Status, before.Reason, before.Message);
        }

        return this;
    }

    /// <summary>The conditions, in a fixed order.</summary>
    public IReadOnlyList<Condition> Build() => [.. _conditions.Values.OrderBy(c => Array.IndexOf(Order, c.Type))];

    private static string Word(string reason)
    {
        string word = new([.. reason.Where(c => char.IsAsciiLetterOrDigit(c))]);
        return word.Length == 0 || !char.IsAsciiLetter(word[0]) ? "Unknown" : word;
    }
}
