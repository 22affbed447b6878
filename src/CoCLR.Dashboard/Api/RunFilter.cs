// Why this exists: the filter of the list is a small language of its own, read into predicates and never evaluated as code.
using System.Globalization;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Api;

/// <summary>
/// Reads filters. <c>filter = all { "or" all }</c>; <c>all = one { ["and"] one }</c>; <c>one = "-" one | "not" one | "(" filter ")" |
/// term</c>; <c>term = FIELD (":" | "=" | "!=" | "&lt;" | "&lt;=" | "&gt;" | "&gt;=") VALUE | WORD</c>. Quotation marks keep blanks and
/// signs together.
/// </summary>
internal sealed class RunFilter
{
    private const int MaxLength = 1000;
    private const int MaxDepth = 32;
    private static readonly char[] Operators = [':', '=', '<', '>', '!'];
    private readonly IReadOnlyCollection<RunInfo> _runs;
    private readonly List<string> _words;
    private int _at;

    private RunFilter(IReadOnlyCollection<RunInfo> runs, List<string> words) => (_runs, _words) = (runs, words);

    /// <summary>Reads a filter.</summary>
    /// <param name="runs">Runs whose metrics may be named.</param>
    /// <param name="filter">The filter; empty for all.</param>
    /// <returns>The predicate, which matches nothing where there is a problem, and what could not be understood.</returns>
    public static (Func<RunInfo, Annotation, bool> Matches, string? Problem) Parse(IReadOnlyCollection<RunInfo> runs, string? filter)
    {
        try
        {
            if (filter?.Length > MaxLength)
            {
                throw new FormatException($"The filter is longer than {MaxLength} characters.");
            }

            var parser = new RunFilter(runs, Words(filter ?? ""));
            if (parser._words.Count == 0)
            {
                return ((_, _) => true, null);
            }

            Func<RunInfo, Annotation, bool> matches = parser.Any(0);
            return parser._at == parser._words.Count
                ? (matches, null)
                : throw new FormatException("A closing parenthesis has no opening one.");
        }
        catch (FormatException e)
        {
            return ((_, _) => false, e.Message);
        }
    }

    /// <summary>Words and parentheses; quotation marks stay, for they say that a word is no operator.</summary>
    private static List<string> Words(string filter)
    {
        var words = new List<string>();
        int start = -1;
        bool quoted = false;
        for (int i = 0; i < filter.Length; i++)
        {
            char c = filter[i];
            bool ends = !quoted && (char.IsWhiteSpace(c) || c is '(' or ')');
            if (ends && start >= 0)
            {
                words.Add(filter[start..i]);
                start = -1;
            }

            if (ends && c is '(' or ')')
            {
                words.Add(c.ToString());
            }
            else if (!ends && start < 0)
            {
                start = i;
            }

            quoted ^= c == '"';
        }

        if (quoted)
        {
            throw new FormatException("A quotation mark is not closed.");
        }

        if (start >= 0)
        {
            words.Add(filter[start..]);
        }

        return words;
    }

    private Func<RunInfo, Annotation, bool> Any(int depth)
    {
        var parts = new List<Func<RunInfo, Annotation, bool>> { All(depth) };
        while (Next("or"))
        {
            parts.Add(All(depth));
        }

        return parts.Count == 1 ? parts[0] : (r, a) => parts.Exists(p => p(r, a));
    }

    private Func<RunInfo, Annotation, bool> All(int depth)
    {
        var parts = new List<Func<RunInfo, Annotation, bool>> { One(depth) };
        while (_at < _words.Count && _words[_at] != ")" && !Is("or"))
        {
            Next("and");
            parts.Add(One(depth));
        }

        return parts.Count == 1 ? parts[0] : (r, a) => parts.TrueForAll(p => p(r, a));
    }

    private Func<RunInfo, Annotation, bool> One(int depth)
    {
        if (depth > MaxDepth)
        {
            throw new FormatException($"The filter is nested more than {MaxDepth} levels deep.");
        }

        if (_at == _words.Count || _words[_at] == ")" || Is("or") || Is("and"))
        {
            throw new FormatException(_at == 0 ? "The filter begins in the middle." : $"Something is missing after '{_words[_at - 1]}'.");
        }

        if (Next("not") || Next("-"))
        {
            Func<RunInfo, Annotation, bool> other = One(depth + 1);
            return (r, a) => !other(r, a);
        }

        string word = _words[_at++];
        if (word == "(")
        {
            Func<RunInfo, Annotation, bool> inner = Any(depth + 1);
            return Next(")") ? inner : throw new FormatException("A parenthesis is not closed.");
        }

        if (word[0] == '-' && word.Length > 1)
        {
            Func<RunInfo, Annotation, bool> other = Term(word[1..]);
            return (r, a) => !other(r, a);
        }

        return Term(word);
    }

    private Func<RunInfo, Annotation, bool> Term(string word)
    {
        int at = word[0] == '"' ? -1 : word.IndexOfAny(Operators);
        if (at <= 0 || (word[at] == '!' && (at + 1 == word.Length || word[at + 1] != '=')))
        {
            string text = Plain(word);
            return (r, a) =>
                Has(r.Run, text) || Has(r.Experiment, text) || Has(r.Method, text) || Has(r.DataSet, text) || a.Tags.Any(t => Has(t, text));
        }

        string op = word[at] is ':' or '=' || at + 1 == word.Length || word[at + 1] != '=' ? word[at].ToString() : word.Substring(at, 2);
        string name = word[..at], value = Plain(word[(at + op.Length)..]);
        RunField field = RunFields.Find(_runs, name) ?? throw new FormatException(RunFields.Problem(_runs, name));
        if (value.Length == 0)
        {
            throw new FormatException($"Something is missing after '{word}'.");
        }

        double? number = Number(field.Name, value);
        switch (op)
        {
            case ":":
                return (r, a) => field.Of(r, a) is var v && (v.Texts.Length > 0 ? v.Texts.Any(t => Has(t, value)) : Same(v, number, value));
            case "=":
                return (r, a) => Same(field.Of(r, a), number, value);
            case "!=":
                return (r, a) => !Same(field.Of(r, a), number, value);
        }

        if (field.IsText)
        {
            throw new FormatException($"{field.Name} is text: write {field.Name}:{value} for a part of it, or {field.Name}={value}.");
        }

        double limit = number ?? throw new FormatException($"'{value}' is not a number: write {field.Name}{op}0.5, or age<2d.");
        return op switch
        {
            "<" => (r, a) => field.Of(r, a).Number < limit,
            "<=" => (r, a) => field.Of(r, a).Number <= limit,
            ">" => (r, a) => field.Of(r, a).Number > limit,
            _ => (r, a) => field.Of(r, a).Number >= limit,
        };
    }

    private static bool Same(FieldValue have, double? number, string text) =>
        (number is { } n && have.Number is { } v && (v == n || Math.Abs(v - n) < 1e-9 * Math.Max(Math.Abs(v), Math.Abs(n))))
        || have.Texts.Contains(text, StringComparer.OrdinalIgnoreCase);

    /// <summary>A number, perhaps in percent or, of an age, in seconds, minutes, hours or days.</summary>
    private static double? Number(string field, string value)
    {
        int unit = field == "age" ? "smhd".IndexOf(value[^1], StringComparison.Ordinal) : -1;
        double scale = unit >= 0 ? new[] { 1.0, 60, 3600, 86400 }[unit] : value[^1] == '%' ? 0.01 : 1;
        string digits = unit >= 0 || value[^1] == '%' ? value[..^1] : value;
        return double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? number * scale : null;
    }

    private bool Is(string word) => _at < _words.Count && _words[_at].Equals(word, StringComparison.OrdinalIgnoreCase);

    private bool Next(string word)
    {
        bool next = Is(word);
        _at += next ? 1 : 0;
        return next;
    }

    private static string Plain(string word) => word.Replace("\"", "", StringComparison.Ordinal);

    private static bool Has(string? text, string part) => text?.Contains(part, StringComparison.OrdinalIgnoreCase) ?? false;
}
