// Why this exists: runs validation rules over objects, with the errors and the cost limit of the real evaluator.
using System.Collections;
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>An optional value.</summary>
/// <param name="HasValue">Whether there is one.</param>
/// <param name="Value">The value.</param>
public sealed record CelOptional(bool HasValue, object? Value);

/// <summary>An object or map of the resource.</summary>
public sealed class CelMapValue
{
    private readonly Dictionary<string, Func<object?>> _entries = new(StringComparer.Ordinal);

    /// <summary>An object seen through its schema.</summary>
    public CelMapValue(JsonObject o, Schema? schema, bool root)
    {
        Source = o;
        foreach (var (name, value) in o)
        {
            var field = root && name == "metadata" ? null : schema?.Property(name);
            if (field is not null || (root && name is "apiVersion" or "kind" or "metadata") || schema is null)
            {
                _entries[name] = () => CelEvaluator.Convert(value, field);
            }
        }

        IsObject = schema is { AdditionalProperties: null };
    }

    /// <summary>A map literal.</summary>
    public CelMapValue(IEnumerable<(string Key, object? Value)> entries)
    {
        foreach (var (key, value) in entries)
        {
            _entries[key] = () => value;
        }
    }

    /// <summary>The JSON it stands for, null for literals.</summary>
    public JsonObject? Source { get; }

    /// <summary>Whether fields are named by identifiers (and escaped).</summary>
    public bool IsObject { get; }

    /// <summary>The keys.</summary>
    public IEnumerable<string> Keys => _entries.Keys;

    /// <summary>How many.</summary>
    public int Count => _entries.Count;

    /// <summary>Whether the key is there.</summary>
    public bool Has(string key) => _entries.ContainsKey(key);

    /// <summary>The value of a key.</summary>
    public object? this[string key] => _entries[key]();
}

/// <summary>Evaluates expressions.</summary>
public sealed class CelEvaluator
{
    private const double PerCallLimit = 1_000_000;
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);
    private double _cost;

    private CelEvaluator(object? self, object? oldSelf)
    {
        _variables["self"] = self;
        _variables["oldSelf"] = oldSelf;
    }

    /// <summary>The value of an expression, and what it cost.</summary>
    /// <exception cref="CelException">With the evaluator's message.</exception>
    public static (object? Value, double Cost) Run(CelNode node, object? self, object? oldSelf)
    {
        var evaluator = new CelEvaluator(self, oldSelf);
        return (evaluator.Eval(node), evaluator._cost);
    }

    /// <summary>A JSON value as CEL sees it.</summary>
    public static object? Convert(JsonNode? node, Schema? schema, bool root = false)
    {
        switch (node)
        {
            case null:
                return null;
            case JsonObject o:
                return new CelMapValue(o, schema, root || schema?.EmbeddedResource == true);
            case JsonArray a:
                return a.Select(i => Convert(i, schema?.Items)).ToList();
        }

        var type = Json.TypeName(node);
        switch (type)
        {
            case "boolean":
                return node.GetValue<bool>();
            case "string":
                var text = node.GetValue<string>();
                return schema?.Format switch
                {
                    "date-time" when DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var time) => time,
                    "duration" => ParseDuration(text) ?? (object)text,
                    "byte" => System.Convert.FromBase64String(text),
                    _ => text,
                };
            default:
                return schema?.Type == "number" || type == "number" ? (object)Json.AsDouble(node)!.Value : Json.AsLong(node)!.Value;
        }
    }

    /// <summary>A Go duration such as `1h30m`, or null.</summary>
    public static TimeSpan? ParseDuration(string text)
    {
        var match = System.Text.RegularExpressions.Regex.Match(text, @"^([+-]?)((\d+(\.\d+)?)(h|ms|m|s|us|ns))+$");
        if (!match.Success)
        {
            return text == "0" ? TimeSpan.Zero : null;
        }

        var total = 0.0;
        for (var i = 0; i < match.Groups[2].Captures.Count; i++)
        {
            var value = double.Parse(match.Groups[3].Captures[i].Value, CultureInfo.InvariantCulture);
            total += value * match.Groups[5].Captures[i].Value switch
            {
                "h" => 3600,
                "m" => 60,
                "s" => 1,
                "ms" => 1e-3,
                "us" => 1e-6,
                _ => 1e-9
            };
        }

        return TimeSpan.FromSeconds(match.Groups[1].Value == "-" ? -total : total);
    }

    private void Charge(double cost)
    {
        _cost += cost;
        if (_cost > PerCallLimit)
        {
            throw new CelException("operation cancelled: actual cost limit exceeded");
        }
    }

    private object? Eval(CelNode node)
    {
        switch (node)
        {
            case CelLiteral literal:
                return literal.Value;
            case CelIdent ident:
                Charge(1);
                return _variables.TryGetValue(ident.Name, out var value) ? value : ident.Name;
            case CelSelect select:
                return Select(select);
            case CelListNode list:
                Charge(10);
                return list.Items.Select(Eval).ToList();
            case CelMapNode map:
                Charge(30);
                return new CelMapValue([.. map.Entries.Select(e => (Text(Eval(e.Key)), Eval(e.Value)))]);
            case CelMacro macro:
                return Macro(macro);
            case CelCall call:
                return Call(call);
            default:
                throw new CelException("unsupported expression");
        }
    }

    private object? Select(CelSelect select)
    {
        var operand = Eval(select.Operand);
        var optional = select.Optional;
        if (operand is CelOptional o)
        {
            if (!o.HasValue)
            {
                return select.Test ? false : new CelOptional(false, null);
            }

            operand = o.Value;
            optional = true;
        }

        if (operand is not CelMapValue map)
        {
            throw new CelException($"no such key: {select.Field}");
        }

        Charge(select.Test ? 0 : 1);
        var key = map.IsObject ? CelType.Unescape(select.Field) : select.Field;
        if (select.Test)
        {
            return map.Has(key);
        }

        if (optional)
        {
            return map.Has(key) ? new CelOptional(true, map[key]) : new CelOptional(false, null);
        }

        return map.Has(key) ? map[key] : throw new CelException($"no such key: {select.Field}");
    }

    private object? Macro(CelMacro macro)
    {
        IEnumerable<object?> items = Eval(macro.Range) switch
        {
            IList list => list.Cast<object?>(),
            CelMapValue map => map.Keys,
            _ => throw new CelException("no such overload"),
        };
        var had = _variables.TryGetValue(macro.Variable, out var shadowed);
        try
        {
            var result = new List<object?>();
            var held = 0;
            CelException? error = null;
            foreach (var item in items)
            {
                Charge(3);
                _variables[macro.Variable] = item;
                if (macro.Kind == "map")
                {
                    if (macro.Filter is null || Bool(Eval(macro.Filter)))
                    {
                        result.Add(Eval(macro.Body));
                    }

                    continue;
                }

                bool holds;
                try
                {
                    holds = Bool(Eval(macro.Body));
                }
                catch (CelException e) when (
                    macro.Kind is "all" or "exists" && !e.Message.StartsWith("operation cancelled", StringComparison.Ordinal))
                {
                    // One element that decides outweighs another that fails.
                    error ??= e;
                    continue;
                }

                if (macro.Kind == "all" && !holds)
                {
                    return false;
                }

                if (macro.Kind == "exists" && holds)
                {
                    return true;
                }

                if (holds)
                {
                    held++;
                    result.Add(item);
                }
            }

            if (error is not null)
            {
                throw error;
            }

            return macro.Kind switch { "all" => true, "exists" => false, "exists_one" => held == 1, _ => result };
        }
        finally
        {
            if (had)
            {
                _variables[macro.Variable] = shadowed;
            }
            else
            {
                _variables.Remove(macro.Variable);
            }
        }
    }

    private static bool Bool(object? value) => value is bool b ? b : throw new CelException("no such overload");

    private static string Text(object? value) => value as string ?? throw new CelException("no such overload");

    private bool Logic(CelCall call, bool decides)
    {
        CelException? error = null;
        foreach (var argument in call.Arguments)
        {
            try
            {
                if (Bool(Eval(argument)) == decides)
                {
                    return decides;
                }
            }
            catch (CelException e) when (!e.Message.StartsWith("operation cancelled", StringComparison.Ordinal))
            {
                error ??= e;
            }
        }

        return error is null ? !decides : throw error;
    }

    private object? Call(CelCall call)
    {
        Charge(1);
        switch (call.Function)
        {
            case "_&&_":
                return Logic(call, false);
            case "_||_":
                return Logic(call, true);
            case "_?_:_":
                return Bool(Eval(call.Arguments[0])) ? Eval(call.Arguments[1]) : Eval(call.Arguments[2]);
        }

        if (call.Target is CelIdent { Name: "optional" or "sets" } package && !_variables.ContainsKey(package.Name))
        {
            var inner = call.Arguments.Select(Eval).ToList();
            return (package.Name, call.Function) switch
            {
                ("optional", "of") => new CelOptional(true, inner[0]),
                ("optional", _) => new CelOptional(false, null),
                (_, "contains") => ((IList)inner[1]!).Cast<object?>().All(i => ((IList)inner[0]!).Cast<object?>().Any(j => Same(i, j))),
                (_, "intersects") => ((IList)inner[1]!).Cast<object?>().Any(i => ((IList)inner[0]!).Cast<object?>().Any(j => Same(i, j))),
                _ => ((IList)inner[1]!).Cast<object?>().All(i => ((IList)inner[0]!).Cast<object?>().Any(j => Same(i, j)))
                    && ((IList)inner[0]!).Cast<object?>().All(i => ((IList)inner[1]!).Cast<object?>().Any(j => Same(i, j))),
            };
        }

        var a = (call.Target is null ? call.Arguments : call.Arguments.Prepend(call.Target)).Select(Eval).ToArray();
        foreach (var s in a.OfType<string>())
        {
            Charge(Math.Ceiling(s.Length * 0.1));
        }

        return Apply(call.Function, a);
    }

    private static object? Apply(string function, object?[] a)
    {
        switch (function)
        {
            case "!_":
                return !Bool(a[0]);
            case "_==_":
                return Same(a[0], a[1]);
            case "_!=_":
                return !Same(a[0], a[1]);
            case "_<_":
                return Compare(a[0], a[1]) < 0;
            case "_<=_":
                return Compare(a[0], a[1]) <= 0;
            case "_>_":
                return Compare(a[0], a[1]) > 0;
            case "_>=_":
                return Compare(a[0], a[1]) >= 0;
            case "_+_" or "_-_" or "_*_" or "_/_" or "_%_":
                return Arithmetic(function[1], a[0], a[1]);
            case "-_":
                return a[0] switch
                {
                    long l => l == long.MinValue ? throw new CelException("integer overflow") : -l,
                    double d => -d,
                    _ => throw new CelException("no such overload")
                };
            case "@in":
                return a[1] switch
                {
                    IList list => list.Cast<object?>().Any(i => Same(i, a[0])),
                    CelMapValue map => map.Has(Text(a[0])),
                    _ => throw new CelException("no such overload")
                };
            case "_[_]" or "_[?_]":
                return Index(a[0], a[1], function == "_[?_]");
            case "size":
                return a[0] switch
                {
                    string s => (long)s.EnumerateRunes().Count(),
                    IList list => (long)list.Count,
                    CelMapValue map => (long)map.Count,
                    _ => throw new CelException("no such overload"),
                };
            case "startsWith":
                return Text(a[0]).StartsWith(Text(a[1]), StringComparison.Ordinal);
            case "endsWith":
                return Text(a[0]).EndsWith(Text(a[1]), StringComparison.Ordinal);
            case "contains":
                return Text(a[0]).Contains(Text(a[1]), StringComparison.Ordinal);
            case "matches":
                return SchemaOperations.Regex(Text(a[1])).IsMatch(Text(a[0]));
            case "find":
                return SchemaOperations.Regex(Text(a[1])).Match(Text(a[0])).Value;
            case "findAll":
                return SchemaOperations.Regex(Text(a[1])).Matches(Text(a[0])).Select(m => (object?)m.Value).ToList();
            case "lowerAscii":
                return Text(a[0]).ToLowerInvariant();
            case "upperAscii":
                return Text(a[0]).ToUpperInvariant();
            case "trim":
                return Text(a[0]).Trim();
            case "replace":
                return Text(a[0]).Replace(Text(a[1]), Text(a[2]), StringComparison.Ordinal);
            case "split":
                return Text(a[0]).Split(Text(a[1])).Select(s => (object?)s).ToList();
            case "join":
                return string.Join(a.Length > 1 ? Text(a[1]) : "", ((IList)a[0]!).Cast<object?>().Select(Text));
            case "substring":
                var from = (int)(long)a[1]!;
                var to = a.Length > 2 ? (int)(long)a[2]! : Text(a[0]).Length;
                return from < 0 || to > Text(a[0]).Length
                    || from > to ? throw new CelException($"index out of range: {from}") : Text(a[0])[from..to];
            case "charAt":
                return (long)a[1]! < Text(a[0]).Length ? Text(a[0])[(int)(long)a[1]!]
                    .ToString() : throw new CelException("index out of range");
            case "indexOf":
                return a[0] is string text ? (long)text.IndexOf(Text(a[1]), StringComparison.Ordinal) : ((IList)a[0]!).Cast<object?>()
                    .ToList().FindIndex(i => Same(i, a[1]));
            case "lastIndexOf":
                return a[0] is string whole ? (long)whole.LastIndexOf(Text(a[1]), StringComparison.Ordinal) : ((IList)a[0]!).Cast<object?>()
                    .ToList().FindLastIndex(i => Same(i, a[1]));
            case "isSorted":
                var sorted = ((IList)a[0]!).Cast<object?>().ToList();
                return Enumerable.Range(1, Math.Max(0, sorted.Count - 1)).All(i => Compare(sorted[i - 1], sorted[i]) <= 0);
            case "sum":
                return ((IList)a[0]!).Cast<object?>()
                    .Aggregate((object?)0L, (x, y) => x is 0L && y is not long ? y : Arithmetic('+', x, y));
            case "min" or "max":
                var all = ((IList)a[0]!).Cast<object?>().ToList();
                return all.Count == 0
                    ? throw new CelException($"{function} called on empty list")
                    : all.Aggregate((x, y) => Compare(x, y) < 0 == (function == "min") ? x : y);
            case "orValue":
                return a[0] is CelOptional { HasValue: true } o ? o.Value : a[1];
            case "hasValue":
                return a[0] is CelOptional { HasValue: true };
            case "value":
                return a[0] is CelOptional { HasValue: true } v ? v.Value : throw new CelException("optional.none() dereference");
            case "dyn":
                return a[0];
            case "type":
                return a[0] switch
                {
                    long => "int",
                    string => "string",
                    bool => "bool",
                    double => "double",
                    IList => "list",
                    CelMapValue => "map",
                    null => "null_type",
                    _ => "dyn"
                };
            case "isQuantity":
                return Quantities.Parse(Text(a[0])) is not null;
            case "quantity":
                return Quantities.Parse(Text(a[0])) ?? throw new CelException("quantities must match the regular expression");
            case "isGreaterThan":
                return (decimal)a[0]! > (decimal)a[1]!;
            case "isLessThan":
                return (decimal)a[0]! < (decimal)a[1]!;
            case "compareTo":
                return (long)((decimal)a[0]!).CompareTo((decimal)a[1]!);
            case "sign":
                return (long)Math.Sign((decimal)a[0]!);
            case "asInteger":
                return (long)(decimal)a[0]!;
            case "isURL":
                return Uri.TryCreate(Text(a[0]), UriKind.Absolute, out _);
            default:
                return Conversion(function, a[0]);
        }
    }

    private static object? Conversion(string function, object? value)
    {
        switch (function, value)
        {
            case ("int", long):
            case ("double", double):
            case ("string", string):
            case ("bool", bool):
            case ("duration", TimeSpan):
            case ("timestamp", DateTimeOffset):
                return value;
            case ("int", double d):
                return double.IsNaN(d) || Math.Abs(d) >= 9.2e18 ? throw new CelException("integer overflow") : (long)d;
            case ("int", string s):
                return long.TryParse(s, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var l)
                    ? l
                    : throw new CelException(
                        $"type conversion error from 'string' to 'int': strconv.ParseInt: parsing \"{s}\": invalid syntax");
            case ("int", DateTimeOffset t):
                return t.ToUnixTimeSeconds();
            case ("uint", long u):
                return u < 0 ? throw new CelException("unsigned integer overflow") : (ulong)u;
            case ("double", long n):
                return (double)n;
            case ("double", string s):
                return double.TryParse(s, NumberStyles.Float, CultureInfo.InvariantCulture, out var r) ? r : throw new CelException(
                    $"type conversion error from 'string' to 'double': strconv.ParseFloat: parsing \"{s}\": invalid syntax");
            case ("string", bool b):
                return b ? "true" : "false";
            case ("string", double d):
                return d.ToString("R", CultureInfo.InvariantCulture);
            case ("string", DateTimeOffset t):
                return Json.Time(t);
            case ("string", TimeSpan span):
                return span.TotalSeconds.ToString("R", CultureInfo.InvariantCulture) + "s";
            case ("string", not null):
                return System.Convert.ToString(value, CultureInfo.InvariantCulture);
            case ("bool", "true"):
                return true;
            case ("bool", "false"):
                return false;
            case ("duration", string s):
                return ParseDuration(s) ?? throw new CelException($"time: invalid duration \"{s}\"");
            case ("timestamp", string s):
                return DateTimeOffset.TryParse(
                    s, CultureInfo.InvariantCulture, out var time) ? time : throw new CelException($"parsing time \"{s}\"");
            case ("getHours", TimeSpan span):
                return (long)span.TotalHours;
            case ("getMinutes", TimeSpan span):
                return (long)span.TotalMinutes;
            case ("getSeconds", TimeSpan span):
                return (long)span.TotalSeconds;
            case ("getMilliseconds", TimeSpan span):
                return (long)span.TotalMilliseconds;
            case ("getFullYear", DateTimeOffset t):
                return (long)t.UtcDateTime.Year;
            case ("getMonth", DateTimeOffset t):
                return (long)t.UtcDateTime.Month - 1;
            case ("getHours", DateTimeOffset t):
                return (long)t.UtcDateTime.Hour;
            default:
                throw new CelException($"no such overload: {function}");
        }
    }

    private static object? Index(object? operand, object? index, bool optional)
    {
        if (operand is CelOptional o)
        {
            if (!o.HasValue)
            {
                return o;
            }

            operand = o.Value;
            optional = true;
        }

        switch (operand)
        {
            case IList list when index is long i:
                if (i < 0 || i >= list.Count)
                {
                    return optional ? new CelOptional(false, null) : throw new CelException($"index out of bounds: {i}");
                }

                return optional ? new CelOptional(true, list[(int)i]) : list[(int)i];
            case CelMapValue map:
                var key = Text(index);
                if (!map.Has(key))
                {
                    return optional ? new CelOptional(false, null) : throw new CelException($"no such key: {key}");
                }

                return optional ? new CelOptional(true, map[key]) : map[key];
            default:
                throw new CelException("no such overload");
        }
    }

    private static object? Arithmetic(char op, object? a, object? b)
    {
        try
        {
            return (op, a, b) switch
            {
                ('+', long x, long y) => checked(x + y),
                ('-', long x, long y) => checked(x - y),
                ('*', long x, long y) => checked(x * y),
                ('/', long x, long y) => y == 0 ? throw new CelException("division by zero") : checked(x / y),
                ('%', long x, long y) => y == 0 ? throw new CelException("modulus by zero") : x % y,
                ('+', double x, double y) => x + y,
                ('-', double x, double y) => x - y,
                ('*', double x, double y) => x * y,
                ('/', double x, double y) => x / y,
                ('+', string x, string y) => x + y,
                ('+', IList x, IList y) => x.Cast<object?>().Concat(y.Cast<object?>()).ToList(),
                ('+', DateTimeOffset x, TimeSpan y) => x + y,
                ('+', TimeSpan x, TimeSpan y) => x + y,
                ('-', DateTimeOffset x, DateTimeOffset y) => x - y,
                ('-', DateTimeOffset x, TimeSpan y) => x - y,
                ('-', TimeSpan x, TimeSpan y) => x - y,
                _ => throw new CelException($"no such overload: {a?.GetType().Name} {op} {b?.GetType().Name}"),
            };
        }
        catch (OverflowException)
        {
            throw new CelException("integer overflow");
        }
    }

    private static int Compare(object? a, object? b) => (a, b) switch
    {
        (long x, long y) => x.CompareTo(y),
        (double x, double y) => x.CompareTo(y),
        (long x, double y) => ((double)x).CompareTo(y),
        (double x, long y) => x.CompareTo((double)y),
        (string x, string y) => string.CompareOrdinal(x, y),
        (bool x, bool y) => x.CompareTo(y),
        (TimeSpan x, TimeSpan y) => x.CompareTo(y),
        (DateTimeOffset x, DateTimeOffset y) => x.CompareTo(y),
        _ => throw new CelException("no such overload"),
    };

    private static bool Same(object? a, object? b) => (a, b) switch
    {
        (null, null) => true,
        (long x, double y) => x == y,
        (double x, long y) => x == y,
        (IList x, IList y) => x.Count == y.Count && x.Cast<object?>().Zip(y.Cast<object?>(), Same).All(s => s),
        (CelMapValue x, CelMapValue y) => x.Count == y.Count && x.Keys.All(k => y.Has(k) && Same(x[k], y[k])),
        (CelOptional x, CelOptional y) => x.HasValue == y.HasValue && Same(x.Value, y.Value),
        _ => Equals(a, b),
    };
}
