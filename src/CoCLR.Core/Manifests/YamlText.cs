// Why this exists: YAML comes from files, requests and pages. The parser calls itself once a level and follows aliases as often as they are
// named, so that a few kilobytes could end the process or fill its memory: depth and size are bounded before a tree is built, in the one
// place that builds trees.
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace CoCLR.Core.Manifests;

/// <summary>Reads YAML (and with it JSON) that nobody has checked.</summary>
public static class YamlText
{
    /// <summary>Most characters of a text.</summary>
    public const int MaxCharacters = 1 << 20;

    /// <summary>Most levels of groups and lists, one in another.</summary>
    public const int MaxDepth = 64;

    /// <summary>Most values of a text.</summary>
    public const int MaxNodes = 50_000;

    /// <summary>The first document of a text; null when it holds none.</summary>
    /// <exception cref="YamlException">It is no YAML, too long, nested too deeply, or of several documents; with the line.</exception>
    public static YamlNode? Load(string text)
    {
        if (text.Length > MaxCharacters)
        {
            throw new YamlException($"larger than {MaxCharacters} characters");
        }

        var stream = new YamlStream();
        try
        {
            stream.Load(new BoundedParser(new Parser(new StringReader(text)), MaxDepth, MaxNodes));
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw new YamlException("cannot be parsed", e); // the parser's own exceptions on some malformed input
        }

        return stream.Documents switch
        {
            [] => null,
            [var only] => only.RootNode,
            [_, var second, ..] =>
                throw new YamlException(second.RootNode.Start, second.RootNode.End, "holds several documents; give one manifest a file"),
        };
    }
}

/// <summary>A parser that stops before a tree of its events could end the process: at the first level or value that is too many.</summary>
/// <param name="inner">The parser.</param>
/// <param name="maxDepth">Most levels of groups and lists, one in another.</param>
/// <param name="maxNodes">Most values.</param>
public sealed class BoundedParser(IParser inner, int maxDepth, int maxNodes) : IParser
{
    // The stream and the document are levels to the parser.
    private const int Outside = 2;
    private int _depth;
    private int _nodes;

    /// <inheritdoc/>
    public ParsingEvent? Current => inner.Current;

    /// <inheritdoc/>
    /// <exception cref="YamlException">It is nested too deeply, or holds too much; with the line.</exception>
    public bool MoveNext()
    {
        if (!inner.MoveNext())
        {
            return false;
        }

        ParsingEvent now = inner.Current!;
        _depth += now.NestingIncrease;
        if (_depth > maxDepth + Outside)
        {
            throw new YamlException(now.Start, now.End, $"nested too deeply: more than {maxDepth} groups or lists, one in another");
        }

        if (now is NodeEvent && ++_nodes > maxNodes)
        {
            throw new YamlException(now.Start, now.End, $"holds more than {maxNodes} values");
        }

        return true;
    }
}
