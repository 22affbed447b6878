// Why this exists: what a stage says of itself, as its termination message or pushed on the way; it comes from a pod, so nothing in it is
// trusted.
using System.Globalization;
using System.Text;
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Progress;

/// <summary>What a stage says of itself.</summary>
public sealed record StageReport
{
    /// <summary>Largest body in bytes.</summary>
    public const int MaximumBytes = 64 * 1024;

    /// <summary>The stage.</summary>
    public string? Stage { get; init; }

    /// <summary>succeeded, failed or terminated; null while it runs.</summary>
    public string? Outcome { get; init; }

    /// <summary>Why, for people.</summary>
    public string? Message { get; init; }

    /// <summary>Number of the attempt.</summary>
    public int? Attempt { get; init; }

    /// <summary>Epochs completed.</summary>
    public int? Epoch { get; init; }

    /// <summary>Epochs in the newest checkpoint.</summary>
    public int? CheckpointEpoch { get; init; }

    /// <summary>Epochs in all.</summary>
    public int? Epochs { get; init; }

    /// <summary>Steps completed.</summary>
    public long? Step { get; init; }

    /// <summary>Percent of the stage.</summary>
    public int? Percent { get; init; }

    /// <summary>Seconds left.</summary>
    public int? EtaSeconds { get; init; }

    /// <summary>Whether the representation had collapsed when it was looked at last; null before.</summary>
    public bool? Collapsed { get; init; }

    /// <summary>Results as decimal strings, by name.</summary>
    public IReadOnlyDictionary<string, string> Result { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Whether it ended with something that the dashboard has not got; null while it runs, and where no dashboard is told.
    /// </summary>
    public bool? Unsent { get; init; }

    /// <summary>When it was received.</summary>
    public DateTimeOffset At { get; init; }

    /// <summary>When a report last said something new: a process that hangs may go on reporting.</summary>
    public DateTimeOffset MovedAt { get; init; }

    /// <summary>Whether the work is where it was at an earlier report.</summary>
    /// <param name="before">The earlier report.</param>
    public bool StandsAt(StageReport before) =>
        (Attempt, Outcome, Epoch, CheckpointEpoch, Step, Percent, EtaSeconds) == (
            before.Attempt, before.Outcome, before.Epoch, before.CheckpointEpoch, before.Step, before.Percent, before.EtaSeconds);

    /// <summary>Whether an attempt before that of another report says this.</summary>
    /// <param name="other">The other report.</param>
    public bool IsOlderAttempt(StageReport other) => Attempt < other.Attempt;

    private static readonly string[] Measures =
    [
        "linearProbeTop1", "linearProbeTop5", "knnTop1", "finetuneTop1", "recallAt1", "recallAt5", "recallAt10", "recallAt20", "recallAt50"
    ];

    /// <summary>Reads a report; null when it is none.</summary>
    /// <param name="json">JSON, perhaps.</param>
    /// <param name="at">When it was received.</param>
    public static StageReport? Read(string? json, DateTimeOffset at)
    {
        if (string.IsNullOrWhiteSpace(json) || json.TrimStart()[0] != '{')
        {
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 8 });
            JsonElement root = document.RootElement;
            var result = new Dictionary<string, string>();
            foreach (string measure in Measures)
            {
                if ((root.Child("result") ?? default).Child(measure) is { ValueKind: JsonValueKind.Number } value
                    && value.TryGetDouble(out double number) && number is >= 0 and <= 1)
                {
                    result[measure] = number.ToString("0.######", CultureInfo.InvariantCulture);
                }
            }

            return new StageReport
            {
                Stage = Clean(root.Text("stage"), 63),
                Outcome = Clean(root.Text("outcome"), 32),
                Message = Clean(root.Text("message"), 1024),
                Attempt = Integer(root, "attempt", int.MaxValue),
                Epoch = Integer(root, "epoch", 1_000_000),
                CheckpointEpoch = Integer(root, "checkpointEpoch", 1_000_000),
                Epochs = Integer(root, "epochs", 1_000_000),
                Step = Integer(root, "step", int.MaxValue),
                Percent = Integer(root, "percent", 100),
                EtaSeconds = Integer(root, "etaSeconds", int.MaxValue),
                Collapsed = root.Child("collapsed") is { ValueKind: JsonValueKind.True or JsonValueKind.False } collapsed ? collapsed.GetBoolean() : null,
                Result = result,
                Unsent =
                    root.Child("unsent") is { ValueKind: JsonValueKind.True or JsonValueKind.False } unsent ? unsent.GetBoolean() : null,
                At = at,
                MovedAt = at,
            };
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Results of a view with this report's values over those known.</summary>
    /// <param name="known">Known results.</param>
    public ResultStatus Over(ResultStatus known) => known with
    {
        LinearProbeTop1 = Result.GetValueOrDefault("linearProbeTop1", known.LinearProbeTop1!),
        LinearProbeTop5 = Result.GetValueOrDefault("linearProbeTop5", known.LinearProbeTop5!),
        KnnTop1 = Result.GetValueOrDefault("knnTop1", known.KnnTop1!),
        FinetuneTop1 = Result.GetValueOrDefault("finetuneTop1", known.FinetuneTop1!),
        RecallAt1 = Result.GetValueOrDefault("recallAt1", known.RecallAt1!),
        RecallAt5 = Result.GetValueOrDefault("recallAt5", known.RecallAt5!),
        RecallAt10 = Result.GetValueOrDefault("recallAt10", known.RecallAt10!),
        RecallAt20 = Result.GetValueOrDefault("recallAt20", known.RecallAt20!),
        RecallAt50 = Result.GetValueOrDefault("recallAt50", known.RecallAt50!),
    };

    /// <summary>Text without control characters, of at most a number of bytes.</summary>
    /// <param name="text">Text.</param>
    /// <param name="bytes">Most bytes in UTF-8.</param>
    public static string? Clean(string? text, int bytes)
    {
        if (text == null)
        {
            return null;
        }

        var clean = new StringBuilder(text.Length);
        foreach (char c in text)
        {
            clean.Append(char.IsControl(c) ? ' ' : c);
        }

        return EventRecorder.Truncate(clean.ToString().Trim(), bytes);
    }

    // Out of range is clamped, NaN and infinities are no JSON numbers and so are ignored.
    private static int? Integer(JsonElement root, string name, int maximum)
        => root.Child(name) is { ValueKind: JsonValueKind.Number } value && value.TryGetDouble(out double number)
            && !double.IsNaN(number) ? (int)Math.Clamp(number, 0, maximum) : null;
}
