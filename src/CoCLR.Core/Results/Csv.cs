// Why this exists: exported tables are opened in spreadsheets, where a cell that begins like a formula is executed; no name of a video or
// run may do that.
using System.Globalization;
using System.Text;

namespace CoCLR.Core.Results;

/// <summary>CSV (RFC 4180, line feeds) whose text cells cannot become formulas.</summary>
public static class Csv
{
    /// <summary>Appends one row.</summary>
    /// <param name="builder">Where to.</param>
    /// <param name="cells">Text is quoted and, where it begins like a formula, prefixed with an apostrophe; numbers are written as they
    /// are; null is empty.</param>
    public static StringBuilder AppendCsvRow(this StringBuilder builder, params ReadOnlySpan<object?> cells)
    {
        ArgumentNullException.ThrowIfNull(builder);
        for (var i = 0; i < cells.Length; i++)
        {
            if (i > 0)
            {
                builder.Append(',');
            }

            builder.Append(Cell(cells[i]));
        }

        return builder.Append('\n');
    }

    /// <summary>One cell as CSV.</summary>
    /// <param name="value">Text, a number, a date, a Boolean or null.</param>
    public static string Cell(object? value) => value switch
    {
        null => "",
        string text => Text(text),
        bool flag => flag ? "true" : "false",
        float number => number.ToString("R", CultureInfo.InvariantCulture),
        double number => number.ToString("R", CultureInfo.InvariantCulture),
        DateTimeOffset time => time.ToString("O", CultureInfo.InvariantCulture),
        sbyte or byte or short or ushort or int or uint or long or ulong or decimal =>
            ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture),
        _ => Text(Convert.ToString(value, CultureInfo.InvariantCulture) ?? ""),
    };

    private static string Text(string text)
    {
        // Spreadsheets also skip leading blanks before they look for a formula.
        var first = text.AsSpan().TrimStart(" \u00a0");
        var safe = (first.Length > 0 && first[0] is '=' or '+' or '-' or '@' or '\uff1d' or '\uff0b' or '\uff0d' or '\uff20')
            || (text.Length > 0 && text[0] is '\t' or '\r' or '\n')
            ? "'" + text
            : text;
        return safe.AsSpan().IndexOfAny(",\"\r\n'") < 0 && safe.Trim().Length == safe.Length
            ? safe
            : "\"" + safe.Replace("\"", "\"\"", StringComparison.Ordinal) + "\"";
    }
}
