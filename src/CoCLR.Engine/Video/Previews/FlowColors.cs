// Why this exists: people read optical flow as colours: hue is direction, saturation is speed.
namespace CoCLR.Engine.Video.Previews;

/// <summary>The colour wheel of Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.</summary>
public static class FlowColors
{
    private static readonly (double R, double G, double B)[] Wheel = MakeWheel();

    /// <summary>Draws quantised flow.</summary>
    /// <param name="flow">Pairs of u and v, 0 to 255 for -bound to bound (method.md 1f).</param>
    /// <param name="bound">Largest displacement in pixels.</param>
    /// <param name="full">Displacement in pixels that is drawn at full saturation.</param>
    /// <param name="rgb">Receives three bytes a pixel.</param>
    public static void Draw(ReadOnlySpan<byte> flow, double bound, double full, Span<byte> rgb)
    {
        for (int i = 0, o = 0; i < flow.Length; i += 2, o += 3)
        {
            var u = Displacement(flow[i], bound) / full;
            var v = Displacement(flow[i + 1], bound) / full;
            var radius = Math.Sqrt((u * u) + (v * v));
            var at = (Math.Atan2(-v, -u) / Math.PI + 1) / 2 * (Wheel.Length - 1);
            var low = (int)at;
            var (a, b) = (Wheel[low], Wheel[(low + 1) % Wheel.Length]);
            rgb[o] = Shade(a.R + ((at - low) * (b.R - a.R)), radius);
            rgb[o + 1] = Shade(a.G + ((at - low) * (b.G - a.G)), radius);
            rgb[o + 2] = Shade(a.B + ((at - low) * (b.B - a.B)), radius);
        }
    }

    /// <summary>The longest displacement of a field in pixels.</summary>
    /// <param name="flow">Pairs of u and v.</param>
    /// <param name="bound">Largest displacement in pixels.</param>
    public static double Longest(ReadOnlySpan<byte> flow, double bound)
    {
        var longest = 0.0;
        for (var i = 0; i < flow.Length; i += 2)
        {
            var (u, v) = (Displacement(flow[i], bound), Displacement(flow[i + 1], bound));
            longest = Math.Max(longest, (u * u) + (v * v));
        }

        return Math.Sqrt(longest);
    }

    // 127.5 would be no motion; both levels beside it are drawn as none.
    private static double Displacement(byte level, double bound) => level is 127 or 128 ? 0 : (level * (2 * bound / 255)) - bound;

    private static byte Shade(double color, double radius) =>
        (byte)Math.Clamp(255 * (radius <= 1 ? 1 - (radius * (1 - color)) : color * 0.75), 0, 255);

    private static (double, double, double)[] MakeWheel()
    {
        const int Ry = 15, Yg = 6, Gc = 4, Cb = 11, Bm = 13, Mr = 6;
        var wheel = new List<(double, double, double)>();
        for (var i = 0; i < Ry; i++)
        {
            wheel.Add((1, (double)i / Ry, 0));
        }

        for (var i = 0; i < Yg; i++)
        {
            wheel.Add((1 - ((double)i / Yg), 1, 0));
        }

        for (var i = 0; i < Gc; i++)
        {
            wheel.Add((0, 1, (double)i / Gc));
        }

        for (var i = 0; i < Cb; i++)
        {
            wheel.Add((0, 1 - ((double)i / Cb), 1));
        }

        for (var i = 0; i < Bm; i++)
        {
            wheel.Add(((double)i / Bm, 0, 1));
        }

        for (var i = 0; i < Mr; i++)
        {
            wheel.Add((1, 0, 1 - ((double)i / Mr)));
        }

        return [.. wheel];
    }
}
