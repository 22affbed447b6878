// Why this exists: without containers a mount has no path of its own. Mount paths in command lines, variables and mounted configuration are
// replaced by the folders that stand for them.
using System.Text;
using System.Text.RegularExpressions;

namespace CoCLR.TrialCluster;

/// <summary>Replaces paths in texts, in one pass, whole path elements only.</summary>
public sealed class PathRewriter
{
    private readonly List<(string From, string To)> _paths;
    private readonly Regex? _forth;
    private readonly Regex? _back;

    /// <summary>A rewriter for mount path and folder pairs.</summary>
    public PathRewriter(IEnumerable<(string Mount, string Folder)> paths)
    {
        _paths = [
            .. paths.Select(p => (p.Mount.TrimEnd('/'), p.Folder.TrimEnd('/'))).Where(p => p.Item1.Length > 1)
                .OrderByDescending(p => p.Item1.Length)];
        if (_paths.Count > 0)
        {
            // A path begins the text or follows something that cannot be part of one, and ends at a slash or likewise.
            _forth = Pattern(_paths.Select(p => p.From));
            _back = Pattern(_paths.Select(p => p.To).OrderByDescending(p => p.Length));
        }
    }

    private static Regex Pattern(IEnumerable<string> paths) =>
        new($@"(?<![\w./-])({string.Join('|', paths.Select(Regex.Escape))})(?=$|[/\s""',;:=)\]}}])", RegexOptions.CultureInvariant);

    /// <summary>The text as the process must see it.</summary>
    public string Forth(string text) => _forth is null ? text : _forth.Replace(text, m => _paths.Find(p => p.From == m.Value).To);

    /// <summary>The text as the pod's author would know it.</summary>
    public string Back(string text) => _back is null ? text : _back.Replace(text, m => _paths.Find(p => p.To == m.Value).From);

    /// <summary>A file's bytes with paths replaced, where they are text.</summary>
    public byte[] Forth(byte[] bytes)
    {
        try
        {
            return Encoding.UTF8.GetBytes(Forth(new UTF8Encoding(false, true).GetString(bytes)));
        }
        catch (DecoderFallbackException)
        {
            return bytes;
        }
    }
}
