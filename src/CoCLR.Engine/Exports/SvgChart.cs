// Why this exists: a curve that is a picture needs no script and no server.
using System.Globalization;
using System.Net;
using System.Text;

namespace CoCLR.Engine.Exports;

/// <summary>A line of a chart.</summary>
/// <param name="Name">In the legend.</param>
/// <param name="Points">Points by growing x; those that are not finite leave a gap.</param>
internal sealed record ChartLine(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>Draws line charts as SVG.</summary>
internal static class SvgChart
{
    private const int Width = 560;
    private const int Height = 220;
    private const int Left = 64;
    private const int Bottom = 28;
    private const int Top = 10;
    private const int MostPoints = 600;
    private static readonly string[] s_colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

    /// <summary>The chart, or null without a finite point.</summary>
    /// <param name="title">For screen readers.</param>
    /// <param name="lines">The lines.</param>
    public static string? Draw(string title, IReadOnlyList<ChartLine> lines)
    {
        (double X, double Y)[] finite = [.. lines.SelectMany(l => l.Points).Where(p => double.IsFinite(p.Y))];
        if (finite.Length == 0)
        {
            return null;
        }

        (double x0, double x1) = Range(finite.Min(p => p.X), finite.Max(p => p.X));
        (double y0, double y1) = Range(finite.Min(p => p.Y), finite.Max(p => p.Y));
        double X(double x) => Left + ((x - x0) / (x1 - x0) * (Width - Left - 8));
        double Y(double y) => Top + ((y1 - y) / (y1 - y0) * (Height - Top - Bottom));
        var svg = new StringBuilder();
        svg.Append(
            CultureInfo.InvariantCulture,
            $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\">");
        foreach (double at in new[] { y0, (y0 + y1) / 2, y1 })
        {
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - 8}\" y1=\"{Y(at):0.#}\" y2=\"{Y(at):0.#}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left - 6}\" y=\"{Y(at) + 4:0.#}\" text-anchor=\"end\">{at:G3}</text>");
        }

        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left}\" y=\"{Height - 8}\">{x0:G4}</text><text x=\"{Width - 8}\" "
            + $"y=\"{Height - 8}\" text-anchor=\"end\">{x1:G6}</text>");
        for (int i = 0; i < lines.Count; i++)
        {
            foreach (IReadOnlyList<(double X, double Y)> part in Parts(Thin(lines[i].Points)))
            {
                svg.Append(
                    CultureInfo.InvariantCulture,
                    $"<polyline fill=\"none\" stroke=\"{s_colors[i % s_colors.Length]}\" stroke-width=\"1.6\" points=\"");
                svg.AppendJoin(' ', part.Select(p => string.Create(CultureInfo.InvariantCulture, $"{X(p.X):0.#},{Y(p.Y):0.#}")))
                    .Append("\"/>");
            }
        }

        svg.Append("</svg><p class=\"legend\">");
        svg.AppendJoin(
            " ",
            lines.Select((line, i) => $"<span style=\"--c:{s_colors[i % s_colors.Length]}\">{WebUtility.HtmlEncode(line.Name)}</span>"));
        return svg.Append("</p>").ToString();
    }

    private static (double Low, double High) Range(double low, double high) =>
        high > low ? (low, high) : (low - (Math.Abs(low) * 0.05) - 1e-9, high + (Math.Abs(high) * 0.05) + 1e-9);

    /// <summary>The least and the greatest of each stretch: peaks stay.</summary>
    private static IEnumerable<(double X, double Y)> Thin(IReadOnlyList<(double X, double Y)> points)
    {
        int stretch = Math.Max(1, (points.Count + MostPoints - 1) / MostPoints);
        return stretch < 3 ? points : points.Chunk(stretch)
            .SelectMany(chunk => new[] { chunk.MinBy(p => p.Y), chunk.MaxBy(p => p.Y) }.OrderBy(p => p.X).Distinct());
    }

    private static IEnumerable<IReadOnlyList<(double X, double Y)>> Parts(IEnumerable<(double X, double Y)> points)
    {
        var part = new List<(double X, double Y)>();
        foreach ((double X, double Y) point in points)
        {
            if (double.IsFinite(point.Y))
            {
                part.Add(point);
            }
            else if (part.Count > 0)
            {
                yield return part;
                part = [];
            }
        }

        if (part.Count > 0)
        {
            yield return part;
        }
    }
}
