// Why this exists: the Common Expression Language, as far as CRD validation rules use it: tokens and syntax tree.
using System.Globalization;
using System.Text;

namespace CoCLR.TrialCluster;

/// <summary>A rule that does not compile or whose evaluation fails.</summary>
public sealed class CelException : Exception
{
    /// <summary>An error, at a place in the text where one is known.</summary>
    public CelException(string message, int position = -1)
        : base(message) => Position = position;

    /// <summary>Index of the character, or -1.</summary>
    public int Position { get; }
}

/// <summary>A node of the syntax tree.</summary>
public abstract record CelNode(int Position);

/// <summary>A literal.</summary>
public sealed record CelLiteral(object? Value, int Position) : CelNode(Position);

/// <summary>A variable.</summary>
public sealed record CelIdent(string Name, int Position) : CelNode(Position);

/// <summary>A field of an object, or whether it is there (<paramref name="Test"/>); `.?` gives an optional.</summary>
public sealed record CelSelect(CelNode Operand, string Field, bool Test, bool Optional, int Position) : CelNode(Position);

/// <summary>An operator or function; methods have a target.</summary>
public sealed record CelCall(string Function, CelNode? Target, IReadOnlyList<CelNode> Arguments, int Position) : CelNode(Position);

/// <summary>A list literal.</summary>
public sealed record CelListNode(IReadOnlyList<CelNode> Items, int Position) : CelNode(Position);

/// <summary>A map literal.</summary>
public sealed record CelMapNode(IReadOnlyList<(CelNode Key, CelNode Value)> Entries, int Position) : CelNode(Position);

/// <summary>A macro over a list or the keys of a map: `all`, `exists`, `exists_one`, `map`, `filter`.</summary>
public sealed record CelMacro(string Kind, CelNode Range, string Variable, CelNode? Filter, CelNode Body, int Position) : CelNode(Position);

/// <summary>Reads expressions.</summary>
public sealed class CelParser
{
    private static readonly string[] Operators =
        ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}"];
    /// <summary>Words that are no identifiers; fields of these names are written `__name__`.</summary>
    public static readonly HashSet<string> Reserved =
    [
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return",
        "var", "void", "while"
    ];
    private readonly List<(string Kind, string Text, object? Value, int Position)> _tokens = [];
    private int _at;

    private CelParser(string text) => Scan(text);

    /// <summary>The tree of an expression.</summary>
    /// <exception cref="CelException">Where it is none.</exception>
    public static CelNode Parse(string text)
    {
        var parser = new CelParser(text);
        var node = parser.Ternary();
        if (parser.Peek.Kind != "end")
        {
            throw new CelException($"Syntax error: mismatched input '{parser.Peek.Text}' expecting <EOF>", parser.Peek.Position);
        }

        return node;
    }

    private void Scan(string text)
    {
        var i = 0;
        while (i < text.Length)
        {
            var c = text[i];
            if (char.IsWhiteSpace(c))
            {
                i++;
                continue;
            }

            if (c == '/' && i + 1 < text.Length && text[i + 1] == '/')
            {
                while (i < text.Length && text[i] != '\n')
                {
                    i++;
                }

                continue;
            }

            var start = i;
            if (c is '"' or '\'' || (c is 'r' or 'R' or 'b' or 'B' && i + 1 < text.Length && text[i + 1] is '"' or '\''))
            {
                i = ScanString(text, i);
                continue;
            }

            if (char.IsAsciiDigit(c) || (c == '.' && i + 1 < text.Length && char.IsAsciiDigit(text[i + 1])))
            {
                i = ScanNumber(text, i);
                continue;
            }

            if (char.IsAsciiLetter(c) || c == '_')
            {
                while (i < text.Length && (char.IsAsciiLetterOrDigit(text[i]) || text[i] == '_'))
                {
                    i++;
                }

                _tokens.Add(("ident", text[start..i], null, start));
                continue;
            }

            var op = Array.Find(Operators, o => string.CompareOrdinal(text, start, o, 0, o.Length) == 0)
                ?? throw new CelException($"Syntax error: token recognition error at: '{c}'", i);
            _tokens.Add(("op", op, null, i));
            i += op.Length;
        }

        _tokens.Add(("end", "<EOF>", null, text.Length));
    }

    private int ScanNumber(string text, int i)
    {
        var start = i;
        if (text[i] == '0' && i + 1 < text.Length && text[i + 1] is 'x' or 'X')
        {
            i += 2;
            while (i < text.Length && char.IsAsciiHexDigit(text[i]))
            {
                i++;
            }

            _tokens.Add(
                ("literal", text[start..i], long.Parse(text[(start + 2)..i], NumberStyles.HexNumber, CultureInfo.InvariantCulture), start));
            return i;
        }

        var real = false;
        while (i < text.Length && (char.IsAsciiDigit(text[i]) || (text[i] == '.' && !real && i + 1 < text.Length && char.IsAsciiDigit(text[i + 1]))
            || text[i] is 'e' or 'E' || (text[i] is '+' or '-' && text[i - 1] is 'e' or 'E')))
        {
            real |= text[i] is '.' or 'e' or 'E';
            i++;
        }

        var digits = text[start..i];
        if (i < text.Length && text[i] is 'u' or 'U' && !real)
        {
            _tokens.Add(("literal", digits, ulong.Parse(digits, CultureInfo.InvariantCulture), start));
            return i + 1;
        }

        if (real)
        {
            _tokens.Add(("literal", digits, double.Parse(digits, CultureInfo.InvariantCulture), start));
        }
        else if (long.TryParse(digits, CultureInfo.InvariantCulture, out var value))
        {
            _tokens.Add(("literal", digits, value, start));
        }
        else
        {
            throw new CelException("Syntax error: invalid int literal", start);
        }

        return i;
    }

    private int ScanString(string text, int i)
    {
        var start = i;
        var raw = false;
        var bytes = false;
        while (text[i] is 'r' or 'R' or 'b' or 'B')
        {
            raw |= text[i] is 'r' or 'R';
            bytes |= text[i] is 'b' or 'B';
            i++;
        }

        var quote = text[i].ToString();
        if (i + 2 < text.Length && text[i + 1] == text[i] && text[i + 2] == text[i])
        {
            quote = new string(text[i], 3);
        }

        i += quote.Length;
        var value = new StringBuilder();
        while (true)
        {
            if (i >= text.Length)
            {
                throw new CelException("Syntax error: token recognition error: unterminated string", start);
            }

            if (string.CompareOrdinal(text, i, quote, 0, quote.Length) == 0)
            {
                i += quote.Length;
                break;
            }

            if (text[i] == '\\' && !raw)
            {
                i = Escape(text, i + 1, value);
                continue;
            }

            if (text[i] == '\n' && quote.Length == 1)
            {
                throw new CelException("Syntax error: token recognition error: line break in string", i);
            }

            value.Append(text[i++]);
        }

        _tokens.Add(("literal", text[start..i], bytes ? Encoding.UTF8.GetBytes(value.ToString()) : value.ToString(), start));
        return i;
    }

    private static int Escape(string text, int i, StringBuilder value)
    {
        var c = text[i];
        var simple = "abfnrtv\\'\"`?".IndexOf(c, StringComparison.Ordinal);
        if (simple >= 0)
        {
            value.Append("\a\b\f\n\r\t\v\\'\"`?"[simple]);
            return i + 1;
        }

        var length = c switch
        {
            'x' or 'X' => 2,
            'u' => 4,
            'U' => 8,
            >= '0' and <= '3' => 3,
            _ => throw new CelException($"Syntax error: token recognition error at: '\\{c}'", i)
        };
        if (char.IsAsciiDigit(c))
        {
            value.Append((char)Convert.ToInt32(text.Substring(i, 3), 8));
            return i + 3;
        }

        value.Append(char.ConvertFromUtf32(int.Parse(text.AsSpan(i + 1, length), NumberStyles.HexNumber, CultureInfo.InvariantCulture)));
        return i + 1 + length;
    }

    private (string Kind, string Text, object? Value, int Position) Peek => _tokens[_at];

    private bool Take(string op)
    {
        if (Peek.Kind == "op" && Peek.Text == op)
        {
            _at++;
            return true;
        }

        return false;
    }

    private void Expect(string op)
    {
        if (!Take(op))
        {
            throw new CelException($"Syntax error: mismatched input '{Peek.Text}' expecting '{op}'", Peek.Position);
        }
    }

    private CelNode Ternary()
    {
        var condition = Binary(0);
        var at = Peek.Position;
        if (!Take("?"))
        {
            return condition;
        }

        var yes = Binary(0);
        Expect(":");
        return new CelCall("_?_:_", null, [condition, yes, Ternary()], at);
    }

    private static readonly string[][] Levels = [["||"], ["&&"], ["==", "!=", "<", "<=", ">", ">=", "in"], ["+", "-"], ["*", "/", "%"]];

    private CelNode Binary(int level)
    {
        if (level == Levels.Length)
        {
            return Unary();
        }

        var left = Binary(level + 1);
        while (Peek.Kind is "op" or "ident" && Levels[level].Contains(Peek.Text))
        {
            var (_, text, _, at) = Peek;
            _at++;
            left = new CelCall(text == "in" ? "@in" : $"_{text}_", null, [left, Binary(level + 1)], at);
        }

        return left;
    }

    private CelNode Unary()
    {
        var at = Peek.Position;
        if (Take("!"))
        {
            return new CelCall("!_", null, [Unary()], at);
        }

        if (Take("-"))
        {
            return Unary() switch
            {
                CelLiteral { Value: long l } => new CelLiteral(-l, at),
                CelLiteral { Value: double d } => new CelLiteral(-d, at),
                var operand => new CelCall("-_", null, [operand], at),
            };
        }

        return Member();
    }

    private CelNode Member()
    {
        var node = Primary();
        while (true)
        {
            var at = Peek.Position;
            if (Take("."))
            {
                var optional = Take("?");
                if (Peek.Kind != "ident")
                {
                    throw new CelException($"Syntax error: no viable alternative at input '.{Peek.Text}'", Peek.Position);
                }

                var name = Peek.Text;
                _at++;
                if (!optional && Take("("))
                {
                    node = Method(node, name, Arguments(")"), at);
                }
                else
                {
                    node = new CelSelect(node, name, false, optional, at);
                }
            }
            else if (Take("["))
            {
                var optional = Take("?");
                var index = Ternary();
                Expect("]");
                node = new CelCall(optional ? "_[?_]" : "_[_]", null, [node, index], at);
            }
            else
            {
                return node;
            }
        }
    }

    private static CelNode Method(CelNode target, string name, List<CelNode> arguments, int at)
    {
        if (name is "all" or "exists" or "exists_one" or "map" or "filter" && arguments.Count >= 2 && arguments[0] is CelIdent variable)
        {
            return arguments.Count switch
            {
                2 => new CelMacro(name, target, variable.Name, null, arguments[1], at),
                3 when name == "map" => new CelMacro(name, target, variable.Name, arguments[1], arguments[2], at),
                _ => throw new CelException($"invalid use of macro {name}", at),
            };
        }

        return new CelCall(name, target, arguments, at);
    }

    private List<CelNode> Arguments(string end)
    {
        var list = new List<CelNode>();
        if (Take(end))
        {
            return list;
        }

        do
        {
            if (end == "]" && Take(end))
            {
                return list;
            }

            list.Add(Ternary());
        }
        while (Take(","));
        Expect(end);
        return list;
    }

    private CelNode Primary()
    {
        var (kind, text, value, at) = Peek;
        switch (kind)
        {
            case "literal":
                _at++;
                return new CelLiteral(value, at);
            case "ident":
                _at++;
                switch (text)
                {
                    case "true":
                        return new CelLiteral(true, at);
                    case "false":
                        return new CelLiteral(false, at);
                    case "null":
                        return new CelLiteral(null, at);
                }

                if (Reserved.Contains(text))
                {
                    throw new CelException($"reserved identifier: {text}", at);
                }

                if (Take("("))
                {
                    var arguments = Arguments(")");
                    if (text == "has")
                    {
                        return arguments is [CelSelect { Optional: false } select]
                            ? select with { Test = true, Position = at }
                            : throw new CelException("invalid argument to has() macro", at);
                    }

                    return new CelCall(text, null, arguments, at);
                }

                return new CelIdent(text, at);
            case "op" when text == "(":
                _at++;
                var inner = Ternary();
                Expect(")");
                return inner;
            case "op" when text == "[":
                _at++;
                return new CelListNode(Arguments("]"), at);
            case "op" when text == "{":
                _at++;
                var entries = new List<(CelNode, CelNode)>();
                while (!Take("}"))
                {
                    var key = Ternary();
                    Expect(":");
                    entries.Add((key, Ternary()));
                    if (!Take(","))
                    {
                        Expect("}");
                        break;
                    }
                }

                return new CelMapNode(entries, at);
            default:
                throw new CelException($"Syntax error: mismatched input '{text}' expecting an expression", at);
        }
    }
}
