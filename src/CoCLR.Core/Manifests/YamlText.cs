// Why this exists: YAML comes from files, requests and pages. The parser calls itself once a level and follows aliases as often as they are named, so
// that a few kilobytes could end the process or fill its memory: depth and size are bounded before a tree is built, in the one place that builds trees.
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
            Check(text);
            stream.Load(new StringReader(text));
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw new YamlException("cannot be parsed", e); // the parser's own exceptions on some malformed input
        }

        return stream.Documents switch
        {
            [] => null,
            [var only] => only.RootNode,
            [_, var second, ..] => throw new YamlException(second.RootNode.Start, second.RootNode.End, "holds several documents; give one manifest a file"),
        };
    }

    /// <summary>Walks over the parser's events, which costs no stack, and stops at the first level that is too deep.</summary>
    private static void Check(string text)
    {
        int depth = 0, nodes = 0;
        var parser = new Parser(new StringReader(text));
        while (parser.MoveNext())
        {
            ParsingEvent now = parser.Current!;
            depth += now.NestingIncrease;
            if (depth > MaxDepth + 2)
            {
                // The stream and the document are levels to the parser.
                throw new YamlException(now.Start, now.End, $"nested too deeply: more than {MaxDepth} groups or lists, one in another");
            }

            if (now is NodeEvent && ++nodes > MaxNodes)
            {
                throw new YamlException(now.Start, now.End, $"holds more than {MaxNodes} values");
            }
        }
    }
}
