// Why this exists: the one reader of a growing event log: whole lines only, from where it left off, however the file grows, is cut off or
// replaced.
using System.Text;
using CoCLR.Core.Events;

namespace CoCLR.Runs;

/// <summary>
/// Reads the lines that a file has gained. A last line without its line feed is still being written and waits. A file that is shorter than
/// what was read is another one and is read from its beginning: events carry their identity, so reading one twice changes nothing. A line
/// longer than <see cref="MaxLine"/> is passed over.
/// </summary>
public sealed class EventTail
{
    /// <summary>The longest line that is read, in bytes.</summary>
    public const int MaxLine = 8 << 20;

    private const int Block = 1 << 20;
    private readonly string _file;
    private bool _tooLong;

    /// <summary>Follows a file.</summary>
    /// <param name="file">The event log; need not exist yet.</param>
    /// <param name="position">Byte to begin at: the end of a line.</param>
    public EventTail(string file, long position = 0)
    {
        _file = file;
        Position = position;
    }

    /// <summary>Byte after the last line that was read.</summary>
    public long Position { get; private set; }

    /// <summary>Follows a file from the end of its last whole line on.</summary>
    /// <param name="file">The event log; need not exist yet.</param>
    public static EventTail AtEnd(string file)
    {
        using FileStream? stream = Open(file);
        return new EventTail(file, stream == null ? 0 : EventLog.EndOfLastLine(stream));
    }

    /// <summary>Lines since the last call, as they are.</summary>
    /// <param name="maxBytes">At most about so many bytes; a single longer line comes alone.</param>
    public IReadOnlyList<string> ReadLines(int maxBytes = Block)
    {
        byte[] bytes = Next(maxBytes, null);
        return bytes.Length == 0 ? [] : Encoding.UTF8.GetString(bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>All events since the last call; lines that are no events are passed over.</summary>
    public IEnumerable<RunEvent> Read()
    {
        var events = new List<RunEvent>();
        while (Read(events))
        {
            foreach (RunEvent e in events)
            {
                yield return e;
            }

            events.Clear();
        }
    }

    /// <summary>Reads the next block of events.</summary>
    /// <param name="events">Gets them.</param>
    /// <param name="problem">Told why a line is no event; kinds of a newer version are passed over in silence.</param>
    /// <returns>Whether there was anything; false at the end.</returns>
    public bool Read(List<RunEvent> events, Action<string>? problem = null)
    {
        ArgumentNullException.ThrowIfNull(events);
        byte[] bytes = Next(Block, problem);
        for (int start = 0, end; start < bytes.Length; start = end + 1)
        {
            end = Array.IndexOf(bytes, (byte)'\n', start);
            if (EventLine.Read(bytes.AsSpan(start, end - start), out RunEvent? item, out string? wrong))
            {
                events.Add(item!);
            }
            else if (wrong != null)
            {
                problem?.Invoke($"a line of {RunFolder.EventsName} cannot be read and is left out: {wrong}");
            }
        }

        return bytes.Length > 0;
    }

    private static FileStream? Open(string file)
    {
        try
        {
            return new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <summary>The next whole lines, about <paramref name="most"/> bytes of them; empty at the end.</summary>
    private byte[] Next(int most, Action<string>? problem)
    {
        using FileStream? stream = Open(_file);
        if (stream == null)
        {
            return [];
        }

        if (stream.Length < Position)
        {
            (Position, _tooLong) = (0, false);
        }

        for (long size = Math.Max(1, most); ; size *= 2)
        {
            byte[] bytes = new byte[Math.Min(Math.Min(size, MaxLine), stream.Length - Position)];
            stream.Position = Position;
            int count = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            int end = bytes.AsSpan(0, count).LastIndexOf((byte)'\n') + 1;
            if (_tooLong && bytes.AsSpan(0, count).IndexOf((byte)'\n') is >= 0 and int rest)
            {
                // What is left of the line that was passed over.
                (Position, _tooLong) = (Position + rest + 1, false);
                return Next(most, problem);
            }

            if (end > 0)
            {
                Position += end;
                return bytes[..end];
            }

            if (count == MaxLine)
            {
                if (!_tooLong)
                {
                    problem?.Invoke($"a line of {RunFolder.EventsName} is longer than {MaxLine >> 20} MiB and is left out.");
                }

                (Position, _tooLong, size) = (Position + count, true, most);
            }
            else if (count < size)
            {
                return [];
            }
        }
    }
}
