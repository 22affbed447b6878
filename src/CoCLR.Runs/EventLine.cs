// Why this exists: events come from processes that may be of another version, broken or hostile; a line becomes an event or a reason, never
// an exception.
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;

namespace CoCLR.Runs;

/// <summary>A line of an event log.</summary>
public static class EventLine
{
    /// <summary>The event of a line; null where it is none.</summary>
    /// <param name="line">A line without its line feed.</param>
    public static RunEvent? Parse(string line) => Read(Encoding.UTF8.GetBytes(line), out RunEvent? item, out _) ? item : null;

    /// <summary>Reads one line.</summary>
    /// <param name="line">UTF-8 without the line feed.</param>
    /// <param name="item">The event.</param>
    /// <param name="wrong">Why there is none; null for an empty line or a kind of a newer version, which are passed over.</param>
    /// <returns>Whether the line is an event.</returns>
    public static bool Read(ReadOnlySpan<byte> line, out RunEvent? item, out string? wrong)
    {
        item = null;
        wrong = null;
        line = line.TrimEnd((byte)'\r').Trim(" \t\0"u8);
        if (line.IsEmpty)
        {
            return false;
        }

        try
        {
            item = JsonSerializer.Deserialize<RunEvent>(line, CoclrJson.Compact);
        }
        catch (NotSupportedException)
        {
            return false;
        }
        catch (JsonException e) when (e.Message.Contains("discriminator", StringComparison.Ordinal))
        {
            return false;
        }
        catch (Exception e) when (e is JsonException or FormatException or OverflowException or DecoderFallbackException)
        {
            wrong = e.Message.Split('.')[0] + ".";
            return false;
        }

        wrong = item switch
        {
            null => "it is null.",
            { Attempt: < 1 or > 1_000_000 } => "attempt is not between 1 and 1,000,000.",
            { Seq: < 0 } => "seq is negative.",
            _ when !RunFolder.IsName(item.Run) => "run is not a plain name.",
            _ when !RunFolder.IsName(item.Stage) => "stage is not a plain name.",
            MetricEvent { Values: null } or LogEvent { Message: null } or ArtifactEvent { Name: null } or ArtifactEvent { File: null } or MiningEvent { Anchors: null } => "a field is null.",
            MiningEvent m when m.Anchors.Any(a => a?.Video is null || a.Positives is null || a.Positives.Any(p => p?.Video is null)) =>
                "an anchor is incomplete.",
            _ => null,
        };
        return wrong == null;
    }
}
