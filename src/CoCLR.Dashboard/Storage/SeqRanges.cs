// Why this exists: an event that arrives twice changes nothing; the numbers seen are kept as ranges, which stay few because they have no
// gaps for long.
using System.Globalization;

namespace CoCLR.Dashboard.Storage;

/// <summary>A set of event numbers of one attempt, as sorted ranges.</summary>
internal sealed class SeqRanges
{
    /// <summary>Ranges beyond which gaps are given up as lost: a sender that skips numbers cannot fill memory.</summary>
    private const int MaxRanges = 4096;

    private readonly List<(long First, long Last)> _ranges = [];

    /// <summary>Adds a number.</summary>
    /// <returns>False when it was there already.</returns>
    public bool Add(long seq)
    {
        int i = _ranges.Count - 1;
        while (i >= 0 && _ranges[i].First > seq)
        {
            i--;
        }

        if (i >= 0 && seq <= _ranges[i].Last)
        {
            return false;
        }

        bool joinsLeft = i >= 0 && _ranges[i].Last + 1 == seq;
        bool joinsRight = i + 1 < _ranges.Count && _ranges[i + 1].First - 1 == seq;
        if (joinsLeft && joinsRight)
        {
            _ranges[i] = (_ranges[i].First, _ranges[i + 1].Last);
            _ranges.RemoveAt(i + 1);
        }
        else if (joinsLeft)
        {
            _ranges[i] = (_ranges[i].First, seq);
        }
        else if (joinsRight)
        {
            _ranges[i + 1] = (seq, _ranges[i + 1].Last);
        }
        else
        {
            _ranges.Insert(i + 1, (seq, seq));
            if (_ranges.Count > MaxRanges)
            {
                _ranges[0] = (_ranges[0].First, _ranges[1].Last);
                _ranges.RemoveAt(1);
            }
        }

        return true;
    }

    /// <summary>Whether a number is in the set.</summary>
    public bool Contains(long seq) => _ranges.Exists(r => r.First <= seq && seq <= r.Last);

    /// <summary>First number that is missing: what a sender that lost its place may continue with.</summary>
    public long Next => _ranges.Count > 0 && _ranges[0].First == 0 ? _ranges[0].Last + 1 : 0;

    /// <inheritdoc/>
    public override string ToString() =>
        string.Join(';', _ranges.Select(r => string.Create(CultureInfo.InvariantCulture, $"{r.First}-{r.Last}")));

    /// <summary>Reads what <see cref="ToString"/> wrote.</summary>
    public static SeqRanges Parse(string text)
    {
        var set = new SeqRanges();
        foreach (string range in text.Split(';', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] ends = range.Split('-');
            set._ranges.Add((long.Parse(ends[0], CultureInfo.InvariantCulture), long.Parse(ends[1], CultureInfo.InvariantCulture)));
        }

        return set;
    }
}
