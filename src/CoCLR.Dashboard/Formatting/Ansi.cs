// Why this exists: logs hold terminal colours; pages show the colours, exports leave them out, and nothing else of the escape sequences gets through.
using System.Text;

namespace CoCLR.Dashboard.Formatting;

/// <summary>A piece of a log line in one style.</summary>
/// <param name="Text">Plain text.</param>
/// <param name="Style">CSS classes such as <c>ansi-31 ansi-bold</c>, or empty.</param>
public readonly record struct AnsiPiece(string Text, string Style);

/// <summary>Terminal escape sequences.</summary>
public static class Ansi
{
    /// <summary>Splits a line into styled pieces: colours (SGR) become classes, every other escape sequence and control character but tab and line end is dropped.</summary>
    /// <param name="line">The line.</param>
    public static IReadOnlyList<AnsiPiece> Parse(string line)
    {
        ArgumentNullException.ThrowIfNull(line);
        if (line.AsSpan().IndexOfAnyInRange('\0', '\u001f') < 0 && line.IndexOf('\u009b', StringComparison.Ordinal) < 0)
        {
            return [new AnsiPiece(line, "")];
        }

        var pieces = new List<AnsiPiece>();
        var text = new StringBuilder();
        string style = "";
        bool bold = false;
        int colour = 0;
        for (int i = 0; i < line.Length; i++)
        {
            char c = line[i];
            if ((c == '\u001b' && i + 1 < line.Length && line[i + 1] == '[') || c == '\u009b')
            {
                int end = c == '\u009b' ? i + 1 : i + 2;
                int start = end;
                while (end < line.Length && line[end] is < '@' or > '~')
                {
                    end++;
                }

                if (end < line.Length && line[end] == 'm')
                {
                    Flush();
                    foreach (string code in line[start..end].Split(';'))
                    {
                        (bold, colour) = code switch
                        {
                            "" or "0" => (false, 0),
                            "1" => (true, colour),
                            "22" => (false, colour),
                            "39" => (bold, 0),
                            _ when int.TryParse(code, out int n) && n is (>= 30 and <= 37) or (>= 90 and <= 97) => (bold, n),
                            _ => (bold, colour),
                        };
                    }

                    style = (colour > 0 ? $"ansi-{colour}" : "") + (bold ? " ansi-bold" : "");
                }

                i = end;
            }
            else if (c == '\u001b')
            {
                // Operating system commands end with BEL or ESC \; others are two characters.
                if (i + 1 < line.Length && line[i + 1] is ']' or 'P' or '_' or '^')
                {
                    int end = line.IndexOfAny(['\a', '\u001b'], i + 2);
                    i = end < 0 ? line.Length : line[end] == '\u001b' ? end + 1 : end;
                }
                else
                {
                    i++;
                }
            }
            else if (c is '\t' or '\n' || !char.IsControl(c))
            {
                text.Append(c);
            }
        }

        Flush();
        return pieces;

        void Flush()
        {
            if (text.Length > 0)
            {
                pieces.Add(new AnsiPiece(text.ToString(), style.Trim()));
                text.Clear();
            }
        }
    }

    /// <summary>How many rows a message takes: one for each of its lines, more where a line is longer than a row.</summary>
    /// <param name="message">The message.</param>
    /// <param name="columns">Characters of a row, at least 1.</param>
    public static int Height(string message, int columns)
    {
        ArgumentNullException.ThrowIfNull(message);
        string text = message.AsSpan().IndexOfAny('\u001b', '\u009b') < 0 ? message : Strip(message);
        int rows = 0;
        foreach (Range line in text.AsSpan().TrimEnd('\n').Split('\n'))
        {
            int length = line.End.GetOffset(text.Length) - line.Start.GetOffset(text.Length);
            rows += Math.Max(1, (length + columns - 1) / columns);
        }

        return Math.Max(1, rows);
    }

    /// <summary>The rows of a message, as many as <see cref="Height"/> says.</summary>
    /// <param name="message">The message.</param>
    /// <param name="columns">Characters of a row, at least 1.</param>
    public static IReadOnlyList<IReadOnlyList<AnsiPiece>> Rows(string message, int columns)
    {
        ArgumentNullException.ThrowIfNull(message);
        var rows = new List<IReadOnlyList<AnsiPiece>>();
        var row = new List<AnsiPiece>();
        int room = columns;
        foreach (AnsiPiece piece in Parse(message))
        {
            string[] lines = piece.Text.Split('\n');
            for (int i = 0; i < lines.Length; i++)
            {
                if (i > 0)
                {
                    EndRow();
                }

                for (string rest = lines[i]; rest.Length > 0;)
                {
                    if (room == 0)
                    {
                        EndRow();
                    }

                    int taken = Math.Min(room, rest.Length);
                    row.Add(new AnsiPiece(rest[..taken], piece.Style));
                    rest = rest[taken..];
                    room -= taken;
                }
            }
        }

        EndRow();
        while (rows.Count > 1 && rows[^1].Count == 0)
        {
            rows.RemoveAt(rows.Count - 1);
        }

        return rows;

        void EndRow()
        {
            rows.Add(row);
            row = [];
            room = columns;
        }
    }

    /// <summary>The line without escape sequences.</summary>
    /// <param name="line">The line.</param>
    public static string Strip(string line) => string.Concat(Parse(line).Select(p => p.Text));
}
