// Why this exists: training processes write the run folders, and they are not trusted: a file is opened only when it really lies inside its
// run folder.
using CoCLR.Runs;

namespace CoCLR.Dashboard.Storage;

/// <summary>Opens files of run folders without ever leaving them.</summary>
internal static class ArtifactFiles
{
    /// <summary>Whether a relative path is plain: forward slashes, no dots as names, no drives, no control characters.</summary>
    public static bool IsSafe(string? relative)
    {
        if (string.IsNullOrEmpty(relative) || relative.Length > 1024 || relative.StartsWith('/'))
        {
            return false;
        }

        foreach (char c in relative)
        {
            if (char.IsControl(c) || c is '\\' or ':' or '#' or '?' or '%' or '*' or '|' or '<' or '>' or '"')
            {
                return false;
            }
        }

        return relative.Split('/')
            .All(part => part.Length > 0 && part.Trim(' ', '.').Length > 0 && !part.EndsWith('.') && !part.EndsWith(' '));
    }

    /// <summary>Opens a file below a root for reading.</summary>
    /// <param name="root">The run folder.</param>
    /// <param name="relative">Path below it, from the index, never from a request.</param>
    /// <returns>The open file, or null when it is not there, not a plain file, or reached over a link.</returns>
    public static FileStream? Open(string root, string relative)
    {
        if (root.Length == 0 || !IsSafe(relative))
        {
            return null;
        }

        string path = Path.GetFullPath(root);
        if (!Directory.Exists(path))
        {
            return null;
        }

        foreach (string part in relative.Split('/'))
        {
            path = Path.Combine(path, part);
            var info = new FileInfo(path);
            if (info.LinkTarget != null || (!info.Exists && !Directory.Exists(path)))
            {
                return null;
            }
        }

        FileStream stream;
        try
        {
            stream = new FileStream(
                path,
                new FileStreamOptions
                {
                    Mode = FileMode.Open, Access = FileAccess.Read, Share = FileShare.ReadWrite | FileShare.Delete,
                    Options = FileOptions.Asynchronous | FileOptions.SequentialScan
                });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        // Previews are linked between runs on the same data; anything else with a second name may be somebody else's file.
        if (HardLinks.HasOthers(stream.SafeFileHandle) && !IsSharedPreview(relative, stream))
        {
            stream.Dispose();
            return null;
        }

        // Between the look and the opening a link may have been put in place: what counts is where the open file really lies.
        if (OperatingSystem.IsLinux())
        {
            string? real = new FileInfo($"/proc/self/fd/{stream.SafeFileHandle.DangerousGetHandle()}").LinkTarget;
            string realRoot = RealPath(root);
            if (real == null || !Inside(realRoot, real))
            {
                stream.Dispose();
                return null;
            }
        }

        return stream;
    }

    /// <summary>Whether a path lies below a root; <c>/data/run1</c> does not contain <c>/data/run10</c>.</summary>
    public static bool Inside(string root, string path)
    {
        string prefix = root.EndsWith(Path.DirectorySeparatorChar) ? root : root + Path.DirectorySeparatorChar;
        return path.StartsWith(prefix, StringComparison.Ordinal);
    }

    private static bool IsSharedPreview(string relative, FileStream stream)
    {
        if (!relative.StartsWith(RunFolder.PreviewsName + "/", StringComparison.Ordinal))
        {
            return false;
        }

        Span<byte> head = stackalloc byte[12];
        int read = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        stream.Position = 0;
        return read == head.Length
            && (head[4..8].SequenceEqual("ftyp"u8) || head[..3].SequenceEqual((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]));
    }

    private static string RealPath(string root)
    {
        string full = Path.GetFullPath(root);
        string current = Path.GetPathRoot(full)!;
        foreach (string part in full[current.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            current = Path.Combine(current, part);
            current = new DirectoryInfo(current).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? current;
        }

        return current;
    }
}
