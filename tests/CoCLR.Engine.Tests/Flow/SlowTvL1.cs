// Why this exists: TV-L1 written down as in the literature, one clear loop a step, to hold the fast one against.
using CoCLR.Engine.Flow;

namespace CoCLR.Engine.Tests.Flow;

/// <summary>
/// Sánchez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation, IPOL 2013, with OpenCV's median filter and resampling. Double
/// precision.
/// </summary>
internal static class SlowTvL1
{
    public static (float[] U, float[] V) Estimate(byte[] first, byte[] second, int width, int height, TvL1Options options)
    {
        var pyramid0 = BuildPyramid(first, width, height, options);
        var pyramid1 = BuildPyramid(second, width, height, options);
        var coarsest = pyramid0[^1];
        var u = new double[coarsest.GetLength(0), coarsest.GetLength(1)];
        var v = new double[coarsest.GetLength(0), coarsest.GetLength(1)];
        for (var scale = pyramid0.Count - 1; scale >= 0; scale--)
        {
            OneScale(pyramid0[scale], pyramid1[scale], ref u, ref v, options);
            if (scale > 0)
            {
                u = Zoom(u, pyramid0[scale - 1], options.ScaleStep);
                v = Zoom(v, pyramid0[scale - 1], options.ScaleStep);
            }
        }

        return (u.Cast<double>().Select(x => (float)x).ToArray(), v.Cast<double>().Select(x => (float)x).ToArray());
    }

    /// <summary>Median of a window with replicated borders, by sorting.</summary>
    public static double[,] Median(double[,] image, int side)
    {
        var (height, width) = (image.GetLength(0), image.GetLength(1));
        var result = new double[height, width];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var window =
                    from dy in Enumerable.Range(-(side / 2), side)
                    from dx in Enumerable.Range(-(side / 2), side)
                    select image[Math.Clamp(y + dy, 0, height - 1), Math.Clamp(x + dx, 0, width - 1)];
                result[y, x] = window.Order().ElementAt(side * side / 2);
            }
        }

        return result;
    }

    private static List<double[,]> BuildPyramid(byte[] frame, int width, int height, TvL1Options options)
    {
        var full = new double[height, width];
        Buffer.BlockCopy(frame.Select(value => (double)value).ToArray(), 0, full, 0, frame.Length * sizeof(double));
        var levels = new List<double[,]> { full };
        while (levels.Count < options.Scales)
        {
            var w = (int)Math.Round(levels[^1].GetLength(1) * 0.8);
            var h = (int)Math.Round(levels[^1].GetLength(0) * 0.8);
            if (w < 16 || h < 16)
            {
                break;
            }

            levels.Add(Resize(levels[^1], w, h, 1.25, 1.25));
        }

        return levels;
    }

    private static double[,] Zoom(double[,] flow, double[,] target, double scaleStep)
    {
        var (height, width) = (target.GetLength(0), target.GetLength(1));
        var result = Resize(flow, width, height, (double)flow.GetLength(1) / width, (double)flow.GetLength(0) / height);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                result[y, x] /= scaleStep;
            }
        }

        return result;
    }

    private static double[,] Resize(double[,] image, int width, int height, double stepX, double stepY)
    {
        var (h, w) = (image.GetLength(0), image.GetLength(1));
        var result = new double[height, width];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var px = Math.Clamp(((x + 0.5) * stepX) - 0.5, 0, w - 1);
                var py = Math.Clamp(((y + 0.5) * stepY) - 0.5, 0, h - 1);
                var (x0, y0) = ((int)px, (int)py);
                var (x1, y1) = (Math.Min(x0 + 1, w - 1), Math.Min(y0 + 1, h - 1));
                var (fx, fy) = (px - x0, py - y0);
                result[y, x] = ((1 - fy) * (((1 - fx) * image[y0, x0]) + (fx * image[y0, x1])))
                    + (fy * (((1 - fx) * image[y1, x0]) + (fx * image[y1, x1])));
            }
        }

        return result;
    }

    private static void OneScale(double[,] i0, double[,] i1, ref double[,] u, ref double[,] v, TvL1Options o)
    {
        var (h, w) = (i0.GetLength(0), i0.GetLength(1));
        var i1x = new double[h, w];
        var i1y = new double[h, w];
        for (var y = 0; y < h; y++)
        {
            for (var x = 0; x < w; x++)
            {
                i1x[y, x] = 0.5 * (i1[y, Math.Min(x + 1, w - 1)] - i1[y, Math.Max(x - 1, 0)]);
                i1y[y, x] = 0.5 * (i1[Math.Min(y + 1, h - 1), x] - i1[Math.Max(y - 1, 0), x]);
            }
        }

        var p = new double[4][,];
        for (var k = 0; k < 4; k++)
        {
            p[k] = new double[h, w];
        }

        var lt = o.Lambda * o.Theta;
        var taut = o.Tau / o.Theta;
        var enough = (double)o.Epsilon * o.Epsilon * w * h;
        for (var warp = 0; warp < o.Warps; warp++)
        {
            var rhoC = new double[h, w];
            var gx = new double[h, w];
            var gy = new double[h, w];
            for (var y = 0; y < h; y++)
            {
                for (var x = 0; x < w; x++)
                {
                    gx[y, x] = Cubic(i1x, x + u[y, x], y + v[y, x]);
                    gy[y, x] = Cubic(i1y, x + u[y, x], y + v[y, x]);
                    rhoC[y, x] = Cubic(i1, x + u[y, x], y + v[y, x]) - (gx[y, x] * u[y, x]) - (gy[y, x] * v[y, x]) - i0[y, x];
                }
            }

            var error = double.MaxValue;
            for (var outer = 0; outer < o.OuterIterations && error > enough; outer++)
            {
                if (o.MedianFiltering > 1)
                {
                    u = Median(u, o.MedianFiltering);
                    v = Median(v, o.MedianFiltering);
                }

                for (var inner = 0; inner < o.InnerIterations && error > enough; inner++)
                {
                    error = 0;
                    for (var y = 0; y < h; y++)
                    {
                        for (var x = 0; x < w; x++)
                        {
                            var rho = rhoC[y, x] + (gx[y, x] * u[y, x]) + (gy[y, x] * v[y, x]);
                            var square = (gx[y, x] * gx[y, x]) + (gy[y, x] * gy[y, x]);
                            var step = rho < -lt * square ? lt : rho > lt * square ? -lt : square > 1.1920929e-7 ? -rho / square : 0;
                            var du = (step * gx[y, x]) + (o.Theta * Divergence(p[0], p[1], x, y));
                            var dv = (step * gy[y, x]) + (o.Theta * Divergence(p[2], p[3], x, y));
                            u[y, x] += du;
                            v[y, x] += dv;
                            error += (du * du) + (dv * dv);
                        }
                    }

                    Dual(u, p[0], p[1], taut);
                    Dual(v, p[2], p[3], taut);
                }
            }
        }
    }

    private static double Divergence(double[,] px, double[,] py, int x, int y) =>
        px[y, x] - (x > 0 ? px[y, x - 1] : 0) + py[y, x] - (y > 0 ? py[y - 1, x] : 0);

    private static void Dual(double[,] u, double[,] px, double[,] py, double taut)
    {
        var (h, w) = (u.GetLength(0), u.GetLength(1));
        for (var y = 0; y < h; y++)
        {
            for (var x = 0; x < w; x++)
            {
                var ux = x < w - 1 ? u[y, x + 1] - u[y, x] : 0;
                var uy = y < h - 1 ? u[y + 1, x] - u[y, x] : 0;
                var norm = 1 + (taut * Math.Sqrt((ux * ux) + (uy * uy)));
                px[y, x] = (px[y, x] + (taut * ux)) / norm;
                py[y, x] = (py[y, x] + (taut * uy)) / norm;
            }
        }
    }

    // Positions are rounded to 1/32 pixel and pixels outside are zero, as in OpenCV's remap.
    private static double Cubic(double[,] image, double px, double py)
    {
        var qx = (int)Math.Round(px * 32);
        var qy = (int)Math.Round(py * 32);
        var wx = CubicWeights((qx & 31) / 32.0);
        var wy = CubicWeights((qy & 31) / 32.0);
        var sum = 0.0;
        for (var j = 0; j < 4; j++)
        {
            for (var i = 0; i < 4; i++)
            {
                var x = (qx >> 5) + i - 1;
                var y = (qy >> 5) + j - 1;
                if (x >= 0 && x < image.GetLength(1) && y >= 0 && y < image.GetLength(0))
                {
                    sum += wx[i] * wy[j] * image[y, x];
                }
            }
        }

        return sum;
    }

    private static double[] CubicWeights(double f)
    {
        static double Kernel(double d)
        {
            const double A = -0.75;
            d = Math.Abs(d);
            return d <= 1 ? (((A + 2) * d) - (A + 3)) * d * d + 1 : ((((A * d) - (5 * A)) * d) + (8 * A)) * d - (4 * A);
        }

        return [Kernel(f + 1), Kernel(f), Kernel(1 - f), Kernel(2 - f)];
    }
}
