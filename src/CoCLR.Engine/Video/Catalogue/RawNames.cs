// Why this exists: a file name on Linux is bytes. Names that are not UTF-8 cannot be opened by their text, so they are shown as `ls -b`
// shows them, and a person can rename them.
using System.Runtime.InteropServices;
using System.Text;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>Names of a folder that are not UTF-8.</summary>
internal static partial class RawNames
{
    // struct dirent: inode (8), offset (8), length (2), type (1), name.
    private const int NameOffset = 19;

    /// <summary>The entries of a folder whose names are not UTF-8, escaped as `ls -b` does: <c>caf\351.mp4</c>.</summary>
    /// <param name="folder">A folder.</param>
    public static IReadOnlyList<string> NotUtf8(string folder)
    {
        var names = new List<string>();
        var stream = OpenDirectory(folder);
        if (stream == 0)
        {
            return names;
        }

        try
        {
            for (var entry = ReadDirectory(stream); entry != 0; entry = ReadDirectory(stream))
            {
                if (Escape(Bytes(entry + NameOffset)) is { } escaped)
                {
                    names.Add(escaped);
                }
            }
        }
        finally
        {
            _ = CloseDirectory(stream);
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }

    /// <summary>A name with its wrong bytes in octal; null for one that is UTF-8.</summary>
    /// <param name="name">The bytes of a name.</param>
    internal static string? Escape(ReadOnlySpan<byte> name)
    {
        var text = new StringBuilder();
        var wrong = false;
        while (name.Length > 0)
        {
            var fine = Rune.DecodeFromUtf8(name, out var rune, out var length) == System.Buffers.OperationStatus.Done;
            wrong |= !fine;
            foreach (var value in fine ? [] : name[..length])
            {
                text.Append('\\').Append(Convert.ToString(value, 8).PadLeft(3, '0'));
            }

            _ = fine ? text.Append(rune.ToString()) : text;
            name = name[length..];
        }

        return wrong ? text.ToString() : null;
    }

    private static unsafe ReadOnlySpan<byte> Bytes(nint name) => MemoryMarshal.CreateReadOnlySpanFromNullTerminated((byte*)name);

    [LibraryImport("libc", EntryPoint = "opendir", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint OpenDirectory(string path);

    [LibraryImport("libc", EntryPoint = "readdir")]
    private static partial nint ReadDirectory(nint stream);

    [LibraryImport("libc", EntryPoint = "closedir")]
    private static partial int CloseDirectory(nint stream);
}
