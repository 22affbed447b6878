// Why this exists: a token that nobody has used for months can go; when each was used last is kept beside the settings, and written now and
// then.
using System.Collections.Concurrent;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Authentication;

/// <summary>When API tokens were used last, to the minute.</summary>
internal sealed class TokenUse : IDisposable
{
    private static readonly TimeSpan Step = TimeSpan.FromMinutes(1);
    private readonly string _path;
    private readonly TimeProvider _clock;
    private readonly ConcurrentDictionary<string, DateTimeOffset> _used = new(StringComparer.Ordinal);
    private readonly Lock _writing = new();

    /// <summary>Reads what is known.</summary>
    public TokenUse(IOptions<DashboardOptions> options, TimeProvider clock)
    {
        (_path, _clock) = (Path.Combine(options.Value.ResolvedDataDir, "token-use.json"), clock);
        try
        {
            if (File.Exists(_path))
            {
                _used = new(
                    JsonSerializer.Deserialize<Dictionary<string,
                    DateTimeOffset>>(File.ReadAllBytes(_path), CoclrJson.Compact) ?? [],
                    StringComparer.Ordinal);
            }
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            // Only a convenience: it starts anew.
        }
    }

    /// <summary>When a token was used last; null for never.</summary>
    public DateTimeOffset? Of(string id) => _used.TryGetValue(id, out DateTimeOffset at) ? at : null;

    /// <summary>Says that a token is used.</summary>
    public void Note(string id)
    {
        DateTimeOffset now = _clock.GetUtcNow();
        if (!_used.TryGetValue(id, out DateTimeOffset last) || now - last >= Step)
        {
            _used[id] = now;
            Write();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Write();

    private void Write()
    {
        try
        {
            lock (_writing)
            {
                File.WriteAllBytes(_path + ".new", JsonSerializer.SerializeToUtf8Bytes(_used, CoclrJson.Compact));
                File.Move(_path + ".new", _path, overwrite: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk is told elsewhere.
        }
    }
}
