// Why this exists: a CRD whose rule does not compile or could cost too much is refused when it is applied, long before any object is; so
// the rules are type-checked and their cost is estimated here by the cost model of cel-go and the limits of the API server.
namespace CoCLR.TrialCluster;

/// <summary>Type and worst-case cost of an expression.</summary>
/// <param name="Type">Type, with the greatest size.</param>
/// <param name="Cost">Greatest cost.</param>
public readonly record struct CelEstimate(CelType Type, double Cost);

/// <summary>Checks expressions against declared variables.</summary>
public sealed class CelChecker
{
    private readonly Dictionary<string, CelType> _variables;

    private CelChecker(Dictionary<string, CelType> variables) => _variables = variables;

    /// <summary>Type and cost of an expression over `self` (and `oldSelf`).</summary>
    /// <exception cref="CelException">Where it does not compile.</exception>
    public static CelEstimate Check(CelNode node, CelType self, CelType oldSelf) =>
        new CelChecker(new Dictionary<string, CelType>(StringComparer.Ordinal) { ["self"] = self, ["oldSelf"] = oldSelf }).Visit(node);

    /// <summary>Whether a variable is used.</summary>
    public static bool Uses(CelNode? node, string name) => node switch
    {
        CelIdent i => i.Name == name,
        CelSelect s => Uses(s.Operand, name),
        CelCall c => Uses(c.Target, name) || c.Arguments.Any(a => Uses(a, name)),
        CelListNode l => l.Items.Any(i => Uses(i, name)),
        CelMapNode m => m.Entries.Any(e => Uses(e.Key, name) || Uses(e.Value, name)),
        CelMacro m => Uses(m.Range, name) || (m.Variable != name && (Uses(m.Body, name) || Uses(m.Filter, name))),
        _ => false,
    };

    private CelEstimate Visit(CelNode node)
    {
        switch (node)
        {
            case CelLiteral literal:
                return new CelEstimate(
                    literal.Value switch
                    {
                        null => new CelType(CelKind.Null),
                        bool => CelType.Bool,
                        long => CelType.Int,
                        ulong => new CelType(CelKind.Uint),
                        double => CelType.Double,
                        string s => new CelType(CelKind.String, MaxSize: s.Length),
                        byte[] b => new CelType(CelKind.Bytes, MaxSize: b.Length),
                        _ => CelType.Dyn,
                    },
                    0);
            case CelIdent ident:
                return _variables.TryGetValue(ident.Name, out var type)
                    ? new CelEstimate(type, 1)
                    : ident.Name is "int" or "string" or "double" or "bool" or "list" or "map" or "uint" or "bytes" or "null_type"
                        ? new CelEstimate(new CelType(CelKind.Type), 1)
                        : throw new CelException($"undeclared reference to '{ident.Name}' (in container '')", ident.Position);
            case CelSelect select:
                return Select(select);
            case CelListNode list:
                var items = list.Items.Select(Visit).ToList();
                var element = items.Count == 0
                    ? CelType.Dyn
                    : items.TrueForAll(i => i.Type.Fits(items[0].Type))
                    ? items.MaxBy(i => i.Type.MaxSize).Type
                    : CelType.Dyn;
                return new CelEstimate(new CelType(CelKind.List, element, MaxSize: items.Count), items.Sum(i => i.Cost) + 10);
            case CelMapNode map:
                var entries = map.Entries.Select(e => (Key: Visit(e.Key), Value: Visit(e.Value))).ToList();
                return new CelEstimate(
                    new CelType(CelKind.Map, entries.Count == 0 ? CelType.Dyn : entries[0].Value.Type, MaxSize: entries.Count),
                    entries.Sum(e => e.Key.Cost + e.Value.Cost) + 30);
            case CelMacro macro:
                return Macro(macro);
            case CelCall call:
                return Call(call);
            default:
                throw new CelException("unsupported expression", node.Position);
        }
    }

    private CelEstimate Select(CelSelect select)
    {
        var operand = Visit(select.Operand);
        var type = operand.Type;
        var wrapped = type.Kind == CelKind.Optional;
        if (wrapped)
        {
            type = type.Element!;
        }

        var field = type.Kind switch
        {
            CelKind.Dyn => CelType.Dyn,
            CelKind.Map => type.Element!,
            CelKind.Object => type.Field(select.Field) ?? throw new CelException($"undefined field '{select.Field}'", select.Position),
            _ => throw new CelException($"type '{type}' does not support field selection", select.Position),
        };
        return new CelEstimate(
            select.Test ? CelType.Bool : select.Optional || wrapped ? new CelType(CelKind.Optional, field) : field,
            operand.Cost + (select.Test ? 0 : 1));
    }

    private CelEstimate Macro(CelMacro macro)
    {
        var range = Visit(macro.Range);
        CelType item;
        switch (range.Type.Kind)
        {
            case CelKind.List:
                item = range.Type.Element!;
                break;
            case CelKind.Map:
                // The real server knows no length of a map's keys and counts them as empty (k8s.io/apiserver, cel.StringType has no
                // MaxElements).
                item = new CelType(CelKind.String, MaxSize: 0);
                break;
            case CelKind.Dyn:
                item = CelType.Dyn;
                break;
            default:
                throw new CelException(
                    $"expression of type '{range.Type}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    macro.Position);
        }

        var had = _variables.TryGetValue(macro.Variable, out var shadowed);
        _variables[macro.Variable] = item;
        var filter = macro.Filter is null ? default : Visit(macro.Filter);
        var body = Visit(macro.Body);
        if (had)
        {
            _variables[macro.Variable] = shadowed!;
        }
        else
        {
            _variables.Remove(macro.Variable);
        }

        if (macro.Kind != "map" && body.Type.Kind is not (CelKind.Bool or CelKind.Dyn))
        {
            throw new CelException($"found no matching overload for '_&&_' applied to '(bool, {body.Type})'", macro.Position);
        }

        // Loop condition (accumulator read through @not_strictly_false) and loop step, as cel-go expands the macros.
        var size = range.Type.MaxSize;
        var (condition, step, result) = macro.Kind switch
        {
            "all" => (2.0, 1 + body.Cost, 1.0),
            "exists" => (3.0, 1 + body.Cost, 1.0),
            "exists_one" => (0.0, body.Cost + 2, 2.0),
            "filter" => (0.0, body.Cost + 13, 1.0),
            _ => (0.0, body.Cost + 12 + filter.Cost, 1.0),
        };
        var type = macro.Kind switch
        {
            "map" => new CelType(CelKind.List, body.Type, MaxSize: size),
            "filter" => range.Type.Kind == CelKind.Map ? new CelType(CelKind.List, item, MaxSize: size) : range.Type,
            _ => CelType.Bool,
        };
        return new CelEstimate(type, range.Cost + (size * (condition + step)) + result + (macro.Kind is "map" or "filter" ? 10 : 0));
    }

    private CelEstimate Call(CelCall call)
    {
        if (call.Target is CelIdent { Name: "optional" or "sets" or "quantity" or "math" } package && !_variables.ContainsKey(package.Name))
        {
            var inner = call.Arguments.Select(Visit).ToList();
            var sum = inner.Sum(i => i.Cost) + 1;
            return (package.Name, call.Function) switch
            {
                ("optional", "of") => new CelEstimate(new CelType(CelKind.Optional, inner[0].Type), sum),
                ("optional", "none") => new CelEstimate(new CelType(CelKind.Optional, CelType.Dyn), sum),
                ("sets", "contains" or "intersects" or "equivalent") =>
                    new CelEstimate(CelType.Bool, sum + (inner[0].Type.MaxSize * inner[1].Type.MaxSize)),
                _ => throw new CelException($"undeclared reference to '{package.Name}.{call.Function}' (in container '')", call.Position),
            };
        }

        var target = call.Target is null ? (CelEstimate?)null : Visit(call.Target);
        var arguments = call.Arguments.Select(Visit).ToList();
        var cost = (target?.Cost ?? 0) + arguments.Sum(a => a.Cost);
        var types = (target is { } t ? arguments.Prepend(t) : arguments).Select(a => a.Type).ToList();
        bool Is(int i, params ReadOnlySpan<CelKind> kinds) =>
            i < types.Count && (types[i].Kind == CelKind.Dyn || kinds.Contains(types[i].Kind));
        CelException NoOverload() => new(
            $"found no matching overload for '{call.Function}' applied to "
                + $"'{(call.Target is null ? "" : types[0] + ".")}({string.Join(", ", call.Target is null ? types : types.Skip(1))})'",
            call.Position);
        CelEstimate Result(CelType type, double own = 1) => new(type, cost + own);
        CelType Number()
        {
            var kind = types[0].Kind == CelKind.Dyn ? types[1].Kind : types[0].Kind;
            return kind is not (CelKind.Int or CelKind.Uint or CelKind.Double or CelKind.Dyn) || !types[0].Fits(types[1])
                || (call.Function == "_%_" && kind == CelKind.Double)
                ? throw NoOverload()
                : new CelType(kind);
        }

        static double Walk(double size) => Math.Ceiling(size * 0.1);
        switch (call.Function)
        {
            case "_&&_" or "_||_":
                return Is(0, CelKind.Bool) && Is(1, CelKind.Bool) ? Result(CelType.Bool) : throw NoOverload();
            case "!_":
                return Is(0, CelKind.Bool) ? Result(CelType.Bool) : throw NoOverload();
            case "_?_:_":
                if (!Is(0, CelKind.Bool) || !types[1].Fits(types[2]))
                {
                    throw NoOverload();
                }

                return new CelEstimate(
                    types[1].MaxSize > types[2].MaxSize ? types[1] : types[2].Kind == CelKind.Dyn ? types[1] : types[2],
                    arguments[0].Cost + Math.Max(arguments[1].Cost, arguments[2].Cost) + 1);
            case "_==_" or "_!=_":
                if (!types[0].Fits(types[1]))
                {
                    throw NoOverload();
                }

                return Result(
                    CelType.Bool,
                    types[0].Kind is CelKind.String or CelKind.Bytes or CelKind.List or CelKind.Map or CelKind.Object or CelKind.Dyn
                        ? Math.Max(1, Walk(Math.Min(DeepSize(types[0]), DeepSize(types[1]))))
                        : 1);
            case "_<_" or "_<=_" or "_>_" or "_>=_":
                var numbers = Is(0, CelKind.Int, CelKind.Uint, CelKind.Double) && Is(1, CelKind.Int, CelKind.Uint, CelKind.Double);
                if (!numbers
                    && !(
                        types[0].Fits(types[1]) && Is(0, CelKind.String, CelKind.Bytes, CelKind.Duration, CelKind.Timestamp, CelKind.Bool)))
                {
                    throw NoOverload();
                }

                return Result(CelType.Bool, numbers ? 1 : Math.Max(1, Walk(Math.Min(types[0].MaxSize, types[1].MaxSize))));
            case "_+_":
                if (types[0].Kind == CelKind.String && Is(1, CelKind.String))
                {
                    var both = types[0].MaxSize + types[1].MaxSize;
                    return Result(new CelType(CelKind.String, MaxSize: both), Math.Max(1, Walk(both)));
                }

                if (types[0].Kind == CelKind.List && Is(1, CelKind.List))
                {
                    return Result(types[0] with { MaxSize = types[0].MaxSize + types[1].MaxSize });
                }

                if (types[0].Kind is CelKind.Timestamp or CelKind.Duration && Is(1, CelKind.Duration, CelKind.Timestamp))
                {
                    return Result(types[0].Kind == CelKind.Timestamp ? types[0] : types[1]);
                }

                return Result(Number());
            case "_-_" when types[0].Kind is CelKind.Timestamp or CelKind.Duration:
                return Result(new CelType(types[1].Kind == CelKind.Timestamp ? CelKind.Duration : types[0].Kind));
            case "_-_" or "_*_" or "_/_" or "_%_":
                return Result(Number());
            case "-_":
                return Is(0, CelKind.Int, CelKind.Double) ? Result(types[0]) : throw NoOverload();
            case "@in":
                if (types[1].Kind == CelKind.List)
                {
                    return types[1].Element!.Fits(types[0]) ? Result(CelType.Bool, Math.Max(1, types[1].MaxSize)) : throw NoOverload();
                }

                return Is(1, CelKind.Map) ? Result(CelType.Bool) : throw NoOverload();
            case "_[_]" or "_[?_]":
                var element = types[0].Kind switch
                {
                    CelKind.List when Is(1, CelKind.Int) => types[0].Element!,
                    CelKind.Map when Is(1, CelKind.String) => types[0].Element!,
                    CelKind.Dyn => CelType.Dyn,
                    _ => throw NoOverload(),
                };
                return Result(call.Function == "_[?_]" ? new CelType(CelKind.Optional, element) : element);
            case "size":
                return Is(0, CelKind.String, CelKind.Bytes, CelKind.List, CelKind.Map)
                    && types.Count == 1 ? Result(CelType.Int) : throw NoOverload();
            case "startsWith" or "endsWith":
                return Is(0, CelKind.String)
                    && Is(1, CelKind.String) ? Result(CelType.Bool, Math.Max(1, Walk(types[1].MaxSize))) : throw NoOverload();
            case "contains":
                return Is(0, CelKind.String) && Is(1, CelKind.String)
                    ? Result(CelType.Bool, Math.Max(1, Walk(types[0].MaxSize) * Walk(types[1].MaxSize)))
                    : throw NoOverload();
            case "matches":
                if (!Is(0, CelKind.String) || !Is(1, CelKind.String))
                {
                    throw NoOverload();
                }

                if (call.Arguments[^1] is CelLiteral { Value: string pattern } literal)
                {
                    CheckPattern(pattern, literal.Position);
                }

                return Result(CelType.Bool, Walk(types[0].MaxSize + 1) * Math.Max(1, Math.Ceiling(types[1].MaxSize * 0.25)));
            case "find" or "findAll":
                if (!Is(0, CelKind.String) || !Is(1, CelKind.String))
                {
                    throw NoOverload();
                }

                var found = new CelType(CelKind.String, MaxSize: types[0].MaxSize);
                return Result(
                    call.Function == "find" ? found : new CelType(CelKind.List, found, MaxSize: types[0].MaxSize),
                    Walk(types[0].MaxSize + 1) * Math.Ceiling(types[1].MaxSize * 0.25));
            case "lowerAscii" or "upperAscii" or "trim" or "substring" or "charAt":
                return Is(0, CelKind.String)
                    ? Result(types[0].Kind == CelKind.Dyn ? CelType.String : types[0], Math.Max(1, Walk(types[0].MaxSize)))
                    : throw NoOverload();
            case "replace":
                return Is(0, CelKind.String) ? Result(CelType.String, 2 * Walk(types[0].MaxSize)) : throw NoOverload();
            case "split":
                return Is(0, CelKind.String)
                    ? Result(
                        new CelType(CelKind.List, new CelType(CelKind.String, MaxSize: types[0].MaxSize), MaxSize: types[0].MaxSize),
                        2 * Walk(types[0].MaxSize))
                    : throw NoOverload();
            case "join":
                return Is(0, CelKind.List)
                    ? Result(CelType.String, Walk(types[0].MaxSize * (types[0].Element?.MaxSize ?? 1)))
                    : throw NoOverload();
            case "indexOf" or "lastIndexOf":
                return Is(0, CelKind.String, CelKind.List)
                    ? Result(CelType.Int, types[0].Kind == CelKind.List ? types[0].MaxSize : Walk(types[0].MaxSize))
                    : throw NoOverload();
            case "isSorted":
                return Is(0, CelKind.List) ? Result(CelType.Bool, DeepSize(types[0])) : throw NoOverload();
            case "sum" or "min" or "max":
                return Is(0, CelKind.List) ? Result(types[0].Element ?? CelType.Dyn, types[0].MaxSize) : throw NoOverload();
            case "orValue":
                return Is(0, CelKind.Optional)
                    ? Result(types[0].Element is { Kind: not CelKind.Dyn } e ? e : types[1])
                    : throw NoOverload();
            case "hasValue":
                return Is(0, CelKind.Optional) ? Result(CelType.Bool) : throw NoOverload();
            case "value":
                return Is(0, CelKind.Optional) ? Result(types[0].Element ?? CelType.Dyn) : throw NoOverload();
            case "int":
                return Is(0, CelKind.Int, CelKind.Uint, CelKind.Double, CelKind.String, CelKind.Timestamp)
                    ? Result(CelType.Int)
                    : throw NoOverload();
            case "uint":
                return Is(
                    0, CelKind.Int, CelKind.Uint, CelKind.Double, CelKind.String) ? Result(new CelType(CelKind.Uint)) : throw NoOverload();
            case "double":
                return Is(0, CelKind.Int, CelKind.Uint, CelKind.Double, CelKind.String) ? Result(CelType.Double) : throw NoOverload();
            case "string":
                return Is(
                    0,
                    CelKind.Int,
                    CelKind.Uint,
                    CelKind.Double,
                    CelKind.String,
                    CelKind.Bool,
                    CelKind.Bytes,
                    CelKind.Duration,
                    CelKind.Timestamp)
                    ? Result(new CelType(CelKind.String, MaxSize: types[0].Kind == CelKind.String ? types[0].MaxSize : ulong.MaxValue))
                    : throw NoOverload();
            case "bool":
                return Is(0, CelKind.Bool, CelKind.String) ? Result(CelType.Bool) : throw NoOverload();
            case "dyn":
                return Result(CelType.Dyn with { MaxSize = types[0].MaxSize });
            case "type":
                return Result(new CelType(CelKind.Type));
            case "duration":
                return Is(0, CelKind.String, CelKind.Duration) ? Result(new CelType(CelKind.Duration)) : throw NoOverload();
            case "timestamp":
                return Is(0, CelKind.String, CelKind.Timestamp, CelKind.Int) ? Result(new CelType(CelKind.Timestamp)) : throw NoOverload();
            case "getHours" or "getMinutes" or "getSeconds" or "getMilliseconds" or "getFullYear" or "getMonth" or "getDate" or "getDayOfMonth" or "getDayOfWeek" or "getDayOfYear":
                return Is(0, CelKind.Duration, CelKind.Timestamp) ? Result(CelType.Int) : throw NoOverload();
            case "isURL" or "isQuantity":
                return Is(0, CelKind.String) ? Result(CelType.Bool, Math.Max(1, Walk(types[0].MaxSize))) : throw NoOverload();
            case "quantity":
                return Is(0, CelKind.String)
                    ? Result(new CelType(CelKind.Quantity), Math.Max(1, Walk(types[0].MaxSize)))
                    : throw NoOverload();
            case "isGreaterThan" or "isLessThan" when Is(0, CelKind.Quantity) && Is(1, CelKind.Quantity):
                return Result(CelType.Bool);
            case "compareTo" or "sign" or "asInteger" when Is(0, CelKind.Quantity):
                return Result(CelType.Int);
            default:
                throw new CelException($"undeclared reference to '{call.Function}' (in container '')", call.Position);
        }
    }

    private static double DeepSize(CelType type) => type.Kind switch
    {
        CelKind.List or CelKind.Map => Math.Min(CelType.MaxRequest, type.MaxSize * Math.Max(1, DeepSize(type.Element!))),
        CelKind.Object =>
            Math.Min(CelType.MaxRequest, type.Schema!.Properties.Values.Sum(p => CelType.Of(p) is { } t ? Math.Max(1, DeepSize(t)) : 1)),
        CelKind.Dyn => CelType.MaxRequest,
        _ => type.MaxSize,
    };

    private static void CheckPattern(string pattern, int position)
    {
        try
        {
            SchemaOperations.Regex(pattern);
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            throw new CelException($"invalid matches argument: error parsing regexp: {e.Message}", position);
        }
    }
}
