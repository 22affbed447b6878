// Why this exists: a log of a million lines is looked at a screen at a time: this knows which line stands at which row, and reads only the
// rows that are asked for.
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Formatting;

/// <summary>A row on the screen.</summary>
/// <param name="Row">Number of the row, from 0.</param>
/// <param name="Head">Whether it begins a line; only such rows show time and stage.</param>
/// <param name="Time">Milliseconds since 1970.</param>
/// <param name="Stage">Stage.</param>
/// <param name="Level">debug, info, warning or error.</param>
/// <param name="Pieces">Text and style of its parts.</param>
public sealed record LogRow(int Row, bool Head, long Time, string Stage, string Level, string[][] Pieces);

/// <summary>A part of a log.</summary>
/// <param name="Total">Rows in all.</param>
/// <param name="Rows">Those that were asked for.</param>
public sealed record LogWindow(int Total, IReadOnlyList<LogRow> Rows);

/// <summary>The rows of a filtered log, in order of time, 16 bytes each.</summary>
/// <param name="store">The store.</param>
/// <param name="run">Run.</param>
/// <param name="stage">Only of this stage; all when null.</param>
/// <param name="level">Only of this level; all when null.</param>
/// <param name="contains">Only lines with this text; all when null.</param>
/// <param name="columns">Characters of a row; longer lines take several.</param>
internal sealed class LogRows(RunStore store, string run, string? stage, string? level, string? contains, int columns)
{
    private const int MaxParts = 1 << 12;
    private readonly Lock _gate = new();
    private readonly List<string> _stages = [];
    private readonly List<int> _read = [];
    private readonly List<Entry> _rows = [];

    /// <summary>Takes in what was written since the last call.</summary>
    /// <returns>Rows in all.</returns>
    public int Update()
    {
        lock (_gate)
        {
            int known = _rows.Count;
            foreach ((string name, int first, int count) in store.LogCounts(run).Where(l => stage == null || l.Stage == stage))
            {
                int at = _stages.IndexOf(name);
                if (at < 0)
                {
                    (at, _) = (_stages.Count, 0);
                    _stages.Add(name);
                    _read.Add(0);
                }

                if (_read[at] > 0 && _rows.Count > 0 && first > 0)
                {
                    known -= _rows.RemoveAll(r => r.Stage == at && r.Line < first);
                }

                if (_read[at] < count)
                {
                    store.ReadLog(run, name, _read[at], count, (number, line) => Take(at, number, line));
                    _read[at] = count;
                }
            }

            // Stages that ran one after another are read in order; those that ran together are woven by time.
            for (int i = Math.Max(1, known); i < _rows.Count; i++)
            {
                if (_rows[i].CompareTo(_rows[i - 1]) < 0)
                {
                    _rows.Sort();
                    break;
                }
            }

            return _rows.Count;
        }
    }

    /// <summary>Rows from one on.</summary>
    /// <param name="from">The first; negative for the last ones.</param>
    /// <param name="count">How many, at most 1000.</param>
    public LogWindow Window(int from, int count)
    {
        lock (_gate)
        {
            count = Math.Clamp(count, 0, Math.Min(1000, _rows.Count));
            from = from < 0 ? _rows.Count - count : Math.Clamp(from, 0, _rows.Count - count);
            var rows = new LogRow?[count];
            foreach (IGrouping<short, int> own in Enumerable.Range(from, count).GroupBy(i => _rows[i].Stage))
            {
                // Neighbours on the screen are mostly neighbours in the file, so one read gets them.
                ILookup<int, int> wanted = own.ToLookup(i => _rows[i].Line);
                store.ReadLog(run, _stages[own.Key], own.Min(i => _rows[i].Line), own.Max(i => _rows[i].Line) + 1, (number, line) =>
                {
                    if (!wanted.Contains(number))
                    {
                        return;
                    }

                    IReadOnlyList<IReadOnlyList<AnsiPiece>> parts = Ansi.Rows(line.Message, columns);
                    foreach (int i in wanted[number])
                    {
                        int part = _rows[i].Part;
                        rows[i - from] = new LogRow(i, part == 0, line.Time.ToUnixTimeMilliseconds(), line.Stage, line.Level,
                            part < parts.Count ? [.. parts[part].Select(p => new[] { p.Text, p.Style })] : []);
                    }
                });
            }

            return new LogWindow(_rows.Count, [.. rows.OfType<LogRow>()]);
        }
    }

    /// <summary>The next line of level error after a row, or before the end from the beginning on.</summary>
    /// <param name="after">A row; -1 for the first.</param>
    /// <returns>Its first row, or -1 when there is none.</returns>
    public int NextError(int after)
    {
        lock (_gate)
        {
            int at = _rows.FindIndex(Math.Clamp(after + 1, 0, _rows.Count), r => r.Error && r.Part == 0);
            return at >= 0 ? at : _rows.FindIndex(r => r.Error && r.Part == 0);
        }
    }

    private void Take(int at, int number, LogLine line)
    {
        if ((level != null && line.Level != level)
            || (contains != null && !line.Message.Contains(contains, StringComparison.OrdinalIgnoreCase)))
        {
            return;
        }

        int parts = Math.Min(Ansi.Height(line.Message, columns), MaxParts);
        for (int part = 0; part < parts; part++)
        {
            _rows.Add(new Entry(line.Time.UtcTicks, number, (short)at, (ushort)(part | (line.Level == "error" ? Entry.ErrorBit : 0))));
        }
    }

    private readonly record struct Entry(long Time, int Line, short Stage, ushort Bits) : IComparable<Entry>
    {
        public const int ErrorBit = 1 << 15;

        public int Part => Bits & (MaxParts - 1);

        public bool Error => (Bits & ErrorBit) != 0;

        public int CompareTo(Entry other) => (Time, Stage, Line, Part).CompareTo((other.Time, other.Stage, other.Line, other.Part));
    }
}
