// Why this exists: the filter of the list is a small language of its own, read into predicates and never evaluated as code.
using System.Globalization;
using System.Security.Claims;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Api;

/// <summary>Searches the list of runs.</summary>
internal static class RunQuery
{
    /// <summary>Fields of the language, for help and errors.</summary>
    public static readonly string[] Fields = ["state", "method", "name", "data", "device", "stage", "tag", "note", "seed", "probe", "recall", "loss", "progress", "age"];

    /// <summary>Runs that a person may see and asks for, in order.</summary>
    public static IEnumerable<RunInfo> Select(RunStore store, SettingsFile settings, ClaimsPrincipal user, string? filter, string? sort, bool archived)
    {
        (Func<RunInfo, Annotation, bool> wanted, _) = Parse(filter);
        IEnumerable<RunInfo> runs = store.Runs.Where(r => user.MaySee(r) && settings.Of(r.Run) is var a && a.Archived == archived && wanted(r, a));
        bool down = sort?.StartsWith('-') ?? true;
        string key = sort?.TrimStart('-') ?? "created";
        Func<RunInfo, IComparable?> by = key switch
        {
            "updated" => r => r.Updated,
            "name" => r => r.Experiment + "\n" + r.Run,
            "state" => r => r.State,
            "method" => r => r.Method,
            "probe" => r => r.BestProbe,
            "recall" => r => r.RecallAt1,
            "loss" => r => r.Loss,
            "progress" => r => r.Progress,
            _ => r => r.Created,
        };

        // Runs without the value come last either way.
        IOrderedEnumerable<RunInfo> known = runs.OrderBy(r => by(r) is null);
        return (down ? known.ThenByDescending(by) : known.ThenBy(by)).ThenBy(r => r.Run, StringComparer.Ordinal);
    }

    /// <summary>Reads a filter.</summary>
    /// <returns>The predicate, and what could not be understood (which matches nothing).</returns>
    public static (Func<RunInfo, Annotation, bool> Matches, string? Problem) Parse(string? filter)
    {
        var parts = new List<Func<RunInfo, Annotation, bool>>();
        string? problem = null;
        foreach (string word in Words(filter ?? ""))
        {
            bool not = word.Length > 1 && word[0] == '-';
            string term = not ? word[1..] : word;
            int at = term.IndexOfAny([':', '=', '<', '>']);
            Func<RunInfo, Annotation, bool>? part = at > 0 && Fields.Contains(term[..at].ToLowerInvariant())
                ? Term(term[..at].ToLowerInvariant(), Operator(term, at), Value(term, at), ref problem)
                : (r, a) => Has(r.Run, term) || Has(r.Experiment, term) || Has(r.Method, term) || Has(r.DataSet, term) || a.Tags.Any(t => Has(t, term));
            if (at > 0 && part == null)
            {
                problem ??= $"'{term}' cannot be understood.";
            }

            if (part != null)
            {
                parts.Add(not ? (r, a) => !part(r, a) : part);
            }
        }

        return ((r, a) => parts.TrueForAll(p => p(r, a)), problem);
    }

    private static Func<RunInfo, Annotation, bool>? Term(string field, string op, string value, ref string? problem)
    {
        Func<RunInfo, Annotation, string?>? text = field switch
        {
            "state" => (r, _) => r.State.ToString(),
            "method" => (r, _) => r.Method,
            "name" => (r, _) => r.Experiment + " " + r.Run,
            "data" => (r, _) => r.DataSet,
            "device" => (r, _) => r.Device,
            "stage" => (r, _) => r.Current?.Name,
            "tag" => (_, a) => string.Join('\n', a.Tags),
            "note" => (_, a) => a.Note,
            _ => null,
        };
        if (text != null)
        {
            if (op is not (":" or "="))
            {
                problem ??= $"{field} is text: write {field}:{value}.";
                return (_, _) => false;
            }

            return op == "=" ? (r, a) => string.Equals(text(r, a), value, StringComparison.OrdinalIgnoreCase) : (r, a) => Has(text(r, a), value);
        }

        double scale = 1;
        string number = value;
        if (field == "age" && value.Length > 1 && "smhd".IndexOf(value[^1], StringComparison.Ordinal) is >= 0 and var unit)
        {
            scale = new[] { 1.0, 60, 3600, 86400 }[unit];
            number = value[..^1];
        }
        else if (value.EndsWith('%'))
        {
            scale = 0.01;
            number = value[..^1];
        }

        if (!double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out double limit))
        {
            problem ??= $"'{value}' is not a number: write {field}>0.5, or age<2d.";
            return (_, _) => false;
        }

        limit *= scale;
        Func<RunInfo, double?> of = field switch
        {
            "seed" => r => r.Seed,
            "probe" => r => r.BestProbe,
            "recall" => r => r.RecallAt1,
            "loss" => r => r.Loss,
            "progress" => r => r.Progress,
            _ => r => (DateTimeOffset.UtcNow - r.Created).TotalSeconds,
        };
        return op switch
        {
            "<" => (r, _) => of(r) < limit,
            "<=" => (r, _) => of(r) <= limit,
            ">" => (r, _) => of(r) > limit,
            ">=" => (r, _) => of(r) >= limit,
            _ => (r, _) => of(r) is { } v && Math.Abs(v - limit) < 1e-9,
        };
    }

    private static string Operator(string term, int at) => term[at] is '<' or '>' && at + 1 < term.Length && term[at + 1] == '=' ? term.Substring(at, 2) : term[at].ToString();

    private static string Value(string term, int at) => term[(at + Operator(term, at).Length)..].Trim('"');

    private static IEnumerable<string> Words(string filter)
    {
        var word = new System.Text.StringBuilder();
        bool quoted = false;
        foreach (char c in filter.Length > 1000 ? filter[..1000] : filter)
        {
            if (c == '"')
            {
                quoted = !quoted;
            }

            if (c == ' ' && !quoted)
            {
                if (word.Length > 0)
                {
                    yield return word.ToString();
                    word.Clear();
                }
            }
            else
            {
                word.Append(c);
            }
        }

        if (word.Length > 0)
        {
            yield return word.ToString();
        }
    }

    private static bool Has(string? text, string part) => text?.Contains(part.Trim('"'), StringComparison.OrdinalIgnoreCase) ?? false;
}
