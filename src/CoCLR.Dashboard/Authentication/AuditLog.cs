// Why this exists: who started, stopped, deleted or gave access must be known afterwards: one line a deed, added to a file that nothing
// here rewrites.
using System.Security.Claims;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Authentication;

/// <summary>A deed.</summary>
/// <param name="Time">When.</param>
/// <param name="User">Who, by name.</param>
/// <param name="Token">Id of the API token that was used, or null.</param>
/// <param name="Role">Role at that time.</param>
/// <param name="Action">What: start, stop, resume, delete, annotate, make-token, revoke-token, make-run-token.</param>
/// <param name="Target">Run or token that it was done to.</param>
/// <param name="Problem">Why it was not done, or null.</param>
public sealed record AuditEntry(
    DateTimeOffset Time, string User, string? Token, string Role, string Action, string Target, string? Problem);

/// <summary>The file <c>audit.jsonl</c> of the data folder.</summary>
internal sealed partial class AuditLog(IOptions<DashboardOptions> options, TimeProvider clock, ILogger<AuditLog> logger)
{
    // Then the file becomes audit.1.jsonl, and the one before it goes: a script in a loop cannot fill the disk.
    private const long MaxBytes = 16 << 20;
    private readonly string _path = Path.Combine(options.Value.ResolvedDataDir, "audit.jsonl");
    private readonly Lock _gate = new();

    /// <summary>Adds a deed.</summary>
    public void Add(ClaimsPrincipal user, string action, string target, string? problem = null)
    {
        string role = user.MayAdminister() ? Roles.Admin : user.MayEdit() ? Roles.Editor : Roles.Viewer;
        var entry = new AuditEntry(
            clock.GetUtcNow(), user.Identity?.Name ?? "someone", user.FindFirstValue(Policies.TokenClaim), role, action, target, problem);
        LogDeed(entry.User, entry.Token, action, target, problem ?? "done");
        try
        {
            lock (_gate)
            {
                if (File.Exists(_path) && new FileInfo(_path).Length > MaxBytes)
                {
                    File.Move(_path, Path.ChangeExtension(_path, "1.jsonl"), overwrite: true);
                }

                File.AppendAllText(_path, JsonSerializer.Serialize(entry, CoclrJson.Compact) + "\n");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            LogLost(e);
        }
    }

    /// <summary>The newest deeds, newest first.</summary>
    public IReadOnlyList<AuditEntry> Newest(int count)
    {
        string[] lines;
        lock (_gate)
        {
            lines =
                [.. new[] { Path.ChangeExtension(_path, "1.jsonl"), _path }.Where(File.Exists).SelectMany(File.ReadLines).TakeLast(count)];
        }

        return [.. lines.Reverse().Select(Read).OfType<AuditEntry>()];

        static AuditEntry? Read(string line)
        {
            try
            {
                return JsonSerializer.Deserialize<AuditEntry>(line, CoclrJson.Compact);
            }
            catch (JsonException)
            {
                return null; // the last line before a crash
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{User} (token {Token}): {Action} {Target}: {Outcome}")]
    private partial void LogDeed(string user, string? token, string action, string target, string outcome);

    [LoggerMessage(Level = LogLevel.Error, Message = "The record of actions cannot be written")]
    private partial void LogLost(Exception e);
}
