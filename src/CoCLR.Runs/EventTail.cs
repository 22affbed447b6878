// Why this exists: follows a growing events.jsonl: whole lines only, from where it left off.
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;

namespace CoCLR.Runs;

/// <summary>Reads the events that a file has gained.</summary>
public sealed class EventTail
{
    private readonly string _file;
    private long _position;

    /// <summary>Follows a file.</summary>
    /// <param name="file">events.jsonl; need not exist yet.</param>
    /// <param name="fromEnd">Skips what is there.</param>
    /// <param name="position">Byte to begin at.</param>
    public EventTail(string file, bool fromEnd = false, long position = 0)
    {
        _file = file;
        _position = fromEnd && File.Exists(file) ? new FileInfo(file).Length : position;
    }

    /// <summary>Byte after the last line that was read.</summary>
    public long Position => _position;

    /// <summary>Lines since the last call, as they are.</summary>
    /// <param name="maxBytes">At most about so many bytes.</param>
    public IReadOnlyList<string> ReadLines(int maxBytes = 1 << 20)
    {
        if (!File.Exists(_file))
        {
            return [];
        }

        using var stream = new FileStream(_file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        if (stream.Length < _position)
        {
            _position = stream.Length; // a torn last line was cut off by the next attempt
        }

        stream.Position = _position;
        byte[] bytes = new byte[Math.Min(maxBytes, stream.Length - _position)];
        int count = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        int end = Array.LastIndexOf(bytes, (byte)'\n', count - 1) + 1;
        if (count == 0 || end == 0)
        {
            return [];
        }

        _position += end;
        return Encoding.UTF8.GetString(bytes, 0, end).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Events since the last call; lines that are no events are passed over.</summary>
    public IEnumerable<RunEvent> Read()
    {
        foreach (string line in ReadLines())
        {
            RunEvent? e = null;
            try
            {
                e = JsonSerializer.Deserialize<RunEvent>(line, CoclrJson.Compact);
            }
            catch (JsonException)
            {
                // Written by another version or torn: the next lines still count.
            }

            if (e != null)
            {
                yield return e;
            }
        }
    }
}
