// Why this exists: events for people, few and short: the same event again soon is not written, and an object cannot flood its namespace.
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using CoCLR.Cluster;

namespace CoCLR.Operator.Runtime;

/// <summary>An event about an object.</summary>
/// <param name="Type">Normal or Warning.</param>
/// <param name="Reason">CamelCase.</param>
/// <param name="Message">For people.</param>
public sealed record ObjectEvent(string Type, string Reason, string Message)
{
    /// <summary>Something worth knowing.</summary>
    /// <param name="reason">CamelCase.</param>
    /// <param name="message">For people.</param>
    public static ObjectEvent Normal(string reason, string message) => new("Normal", reason, message);

    /// <summary>Something that needs attention.</summary>
    /// <param name="reason">CamelCase.</param>
    /// <param name="message">For people.</param>
    public static ObjectEvent Warning(string reason, string message) => new("Warning", reason, message);
}

/// <summary>Writes events.</summary>
public sealed class EventRecorder
{
    private const int MaximumBytes = 1024;
    private const int Remembered = 4096;
    private readonly ApiWriter _writer;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly string _instance;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, long> _recent = [];
    private readonly Dictionary<string, (double Tokens, long At)> _budgets = [];

    /// <summary>Creates a recorder.</summary>
    /// <param name="writer">Writer.</param>
    /// <param name="instance">This process.</param>
    /// <param name="logger">Logger.</param>
    /// <param name="time">Clock.</param>
    public EventRecorder(ApiWriter writer, string instance, ILogger logger, TimeProvider? time = null)
    {
        _writer = writer;
        _instance = instance;
        _logger = logger;
        _time = time ?? TimeProvider.System;
    }

    /// <summary>Writes an event unless it was written a short while ago or the object has had too many.</summary>
    /// <param name="kind">Kind of the object.</param>
    /// <param name="about">Metadata of the object.</param>
    /// <param name="value">The event.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task RecordAsync(ResourceKind kind, ObjectMeta about, ObjectEvent value, CancellationToken cancellation)
    {
        string identity = $"{about.Uid}|{value.Reason}|{value.Message}";
        if (_writer.IsLeaving(about) || !Admit(about.Uid, identity))
        {
            return;
        }

        string now = _time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(identity + now)))[..16];
        var body = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Event",
            ["metadata"] = new JsonObject { ["name"] = $"{about.Key.Name}.{hash}", ["namespace"] = about.Key.Namespace },
            ["involvedObject"] = new JsonObject
            {
                ["apiVersion"] = kind.ApiVersion,
                ["kind"] = kind.Kind,
                ["namespace"] = about.Key.Namespace,
                ["name"] = about.Key.Name,
                ["uid"] = about.Uid,
                ["resourceVersion"] = about.ResourceVersion,
            },
            ["type"] = value.Type,
            ["reason"] = value.Reason,
            ["message"] = Truncate(value.Message, MaximumBytes),
            ["source"] = new JsonObject { ["component"] = "coclr-operator" },
            ["reportingComponent"] = "coclr.dev/operator",
            ["reportingInstance"] = _instance,
            ["firstTimestamp"] = now,
            ["lastTimestamp"] = now,
            ["count"] = 1,
        };
        try
        {
            using var answer = await _writer.CreateAsync(ResourceKind.Event, about.Key.Namespace, body, cancellation).ConfigureAwait(false);
        }
        catch (Exception error) when (error is ApiException or HttpRequestException or TimeoutException)
        {
            // An event is a courtesy: the reconcile goes on without it.
            _logger.LogDebug("Event {Reason} about {Object} was not written: {Error}", value.Reason, about.Key, error.Message);
        }
    }

    /// <summary>Shortens a text to a number of UTF-8 bytes.</summary>
    /// <param name="text">Text.</param>
    /// <param name="bytes">Most bytes.</param>
    public static string Truncate(string text, int bytes)
    {
        if (Encoding.UTF8.GetByteCount(text) <= bytes)
        {
            return text;
        }

        int length = Math.Min(text.Length, bytes);
        while (length > 0 && (Encoding.UTF8.GetByteCount(text.AsSpan(0, length)) > bytes - 3 || char.IsHighSurrogate(text[length - 1])))
        {
            length--;
        }

        return text[..length] + "\u2026";
    }

    // client-go's spam filter: 25 events at once for an object, then one in five minutes.
    private bool Admit(string uid, string identity)
    {
        lock (_gate)
        {
            if (_recent.TryGetValue(identity, out long last) && _time.GetElapsedTime(last) < TimeSpan.FromMinutes(5))
            {
                return false;
            }

            (double tokens, long at) = _budgets.GetValueOrDefault(uid, (25, _time.GetTimestamp()));
            tokens = Math.Min(25, tokens + (_time.GetElapsedTime(at).TotalMinutes / 5));
            if (tokens < 1)
            {
                return false;
            }

            if (_recent.Count >= Remembered || _budgets.Count >= Remembered)
            {
                _recent.Clear();
                _budgets.Clear();
            }

            _budgets[uid] = (tokens - 1, _time.GetTimestamp());
            _recent[identity] = _time.GetTimestamp();
            return true;
        }
    }
}
