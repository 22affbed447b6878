// Why this exists: logs hold terminal colours; pages show the colours, exports leave them out, and nothing else of the escape sequences
// gets through.
using System.Text;

namespace CoCLR.Dashboard.Formatting;

/// <summary>A piece of a log line in one style.</summary>
/// <param name="Text">Plain text.</param>
/// <param name="Style">CSS classes such as <c>ansi-31 ansi-bold</c>, or empty.</param>
public readonly record struct AnsiPiece(string Text, string Style);

/// <summary>Terminal escape sequences.</summary>
public static class Ansi
{
    /// <summary>
    /// Splits a line into styled pieces: colours (SGR) become classes, every other escape sequence and control character but tab and line
    /// end is dropped.
    /// </summary>
    /// <param name="line">The line.</param>
    public static IReadOnlyList<AnsiPiece> Parse(string line)
    {
        ArgumentNullException.ThrowIfNull(line);
        if (line.AsSpan().IndexOfAnyInRange('\0', '\u001f') < 0 && line.IndexOf('\u009b', StringComparison.Ordinal) < 0)
        {
            return [new AnsiPiece(line, "")];
        }

        var pieces = new Pieces();
        for (int i = 0; i < line.Length; i++)
        {
            char c = line[i];
            if ((c == '\u001b' && i + 1 < line.Length && line[i + 1] == '[') || c == '\u009b')
            {
                int start = c == '\u009b' ? i + 1 : i + 2;
                i = start;
                while (i < line.Length && line[i] is < '@' or > '~')
                {
                    i++;
                }

                if (i < line.Length && line[i] == 'm')
                {
                    pieces.Style(line[start..i]);
                }
            }
            else if (c == '\u001b')
            {
                i = EndOfSequence(line, i);
            }
            else if (c is '\t' or '\n' || !char.IsControl(c))
            {
                pieces.Add(c);
            }
        }

        return pieces.End();
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

    // Operating system commands end with BEL or ESC \; others are two characters.
    private static int EndOfSequence(string line, int escape)
    {
        if (escape + 1 >= line.Length || line[escape + 1] is not (']' or 'P' or '_' or '^'))
        {
            return escape + 1;
        }

        int end = line.IndexOfAny(['\a', '\u001b'], escape + 2);
        return end < 0 ? line.Length : line[end] == '\u001b' ? end + 1 : end;
    }

    /// <summary>Gathers characters until the style changes.</summary>
    private sealed class Pieces
    {
        private readonly List<AnsiPiece> _pieces = [];
        private readonly StringBuilder _text = new();
        private bool _bold;
        private int _colour;

        public void Add(char c) => _text.Append(c);

        /// <summary>Takes over the numbers of an SGR sequence.</summary>
        public void Style(string codes)
        {
            End();
            foreach (string code in codes.Split(';'))
            {
                (_bold, _colour) = code switch
                {
                    "" or "0" => (false, 0),
                    "1" => (true, _colour),
                    "22" => (false, _colour),
                    "39" => (_bold, 0),
                    _ when int.TryParse(code, out int n) && n is (>= 30 and <= 37) or (>= 90 and <= 97) => (_bold, n),
                    _ => (_bold, _colour),
                };
            }
        }

        public List<AnsiPiece> End()
        {
            if (_text.Length > 0)
            {
                string style = (_colour > 0 ? $"ansi-{_colour}" : "") + (_bold ? " ansi-bold" : "");
                _pieces.Add(new AnsiPiece(_text.ToString(), style.Trim()));
                _text.Clear();
            }

            return _pieces;
        }
    }
}
