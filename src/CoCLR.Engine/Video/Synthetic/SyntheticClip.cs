// Why this exists: draws one clip of the synthetic data set: a textured sprite on a textured background. What it looks like is drawn from
// its group, how it moves from its class, and the two draws know nothing of one another.
using CoCLR.Core.Manifests;

namespace CoCLR.Engine.Video.Synthetic;

/// <summary>Draws synthetic clips; the same bytes on every machine (only additions, multiplications and table look-ups).</summary>
public static class SyntheticClip
{
    private const double BaseOfSize = 0.09;
    private const double ZoomSwing = 0.3;
    private static readonly ulong LookPurpose = CounterRandom.Purpose("synthetic-look");
    private static readonly ulong ClipPurpose = CounterRandom.Purpose("synthetic-clip");
    private static readonly ulong MotionPurpose = CounterRandom.Purpose("synthetic-motion");

    /// <summary>Draws a clip.</summary>
    /// <param name="options">Size, frames and seed.</param>
    /// <param name="motion">The class.</param>
    /// <param name="group">Number of the group in its class: siblings share a look.</param>
    /// <param name="clip">Number of the clip in its group.</param>
    /// <returns>RGB: [frames, size, size, 3].</returns>
    public static byte[] Draw(SyntheticSource options, SyntheticMotion motion, int group, int clip)
    {
        var size = options.Size;
        var look = new Look(new CounterRandom(options.Seed, LookPurpose, (long)motion, group), options);
        var variation = new CounterRandom(options.Seed, ClipPurpose, (long)motion, group, clip);
        var motionRandom = new CounterRandom(options.Seed, MotionPurpose, (long)motion, group, clip);
        var swing = size * (options.Swing / 100.0);
        var trajectory = new SyntheticTrajectory(motion, ref motionRandom);

        var centerX = (size * 0.5) + (size * variation.Uniform(-BaseOfSize, BaseOfSize));
        var centerY = (size * 0.5) + (size * variation.Uniform(-BaseOfSize, BaseOfSize));
        var scale = look.Scale * variation.Uniform(0.93, 1.07);
        var light = variation.Uniform(0.9, 1.1);
        var backX = variation.Uniform(0, Look.Repeat);
        var backY = variation.Uniform(0, Look.Repeat);
        var driftX = size * variation.Uniform(-0.003, 0.003);
        var driftY = size * variation.Uniform(-0.003, 0.003);

        var frames = new byte[options.Frames * size * size * 3];
        for (var t = 0; t < options.Frames; t++)
        {
            var pose = trajectory.At(t);
            // The camera drifts about the middle of the clip, the same for every class.
            var cameraX = driftX * (t - (options.Frames * 0.5));
            var cameraY = driftY * (t - (options.Frames * 0.5));
            look.DrawFrame(
                frames.AsSpan(t * size * size * 3, size * size * 3),
                centerX + cameraX + (swing * pose.X),
                centerY + cameraY + (swing * pose.Y),
                pose.Turn,
                scale * (1 + (ZoomSwing * pose.Zoom)),
                backX - cameraX,
                backY - cameraY,
                light);
        }

        return frames;
    }

    // What the clips of a group share.
    private sealed class Look
    {
        /// <summary>Side of a texture in texels; it repeats beyond.</summary>
        public const int Repeat = 128;

        private readonly int _size;
        private readonly double[] _background;
        private readonly double[] _sprite;
        private readonly (double X, double Y, double Distance)[] _edges;
        private readonly (double X, double Y, double Radius)[] _discs;
        private readonly double _texelsPerUnit;

        public Look(CounterRandom random, SyntheticSource options)
        {
            _size = options.Size;
            var clutter = options.Clutter / 100.0;
            Scale = _size * random.Uniform((options.SpriteSize - 3) / 100.0, (options.SpriteSize + 3) / 100.0);
            (_edges, _discs) = Shape(ref random);
            var (dark, bright) = Colours(ref random, 130);
            _sprite = Texture(ref random, dark, bright, sharp: true);
            // One unit is the sprite's radius: some four to seven cells of its texture across.
            _texelsPerUnit = random.Uniform(20, 30);
            (dark, bright) = Colours(ref random, 50);
            for (var c = 0; c < 3 && clutter < 1; c++)
            {
                var middle = (dark[c] + bright[c]) / 2;
                (dark[c], bright[c]) = (middle + (clutter * (dark[c] - middle)), middle + (clutter * (bright[c] - middle)));
            }

            _background = Texture(ref random, dark, bright, sharp: random.Bernoulli(0.5));
        }

        /// <summary>Radius of the sprite in pixels.</summary>
        public double Scale { get; }

        public void DrawFrame(Span<byte> rgb, double x, double y, double turn, double radius, double backX, double backY, double light)
        {
            var sine = SyntheticTrajectory.Sine(turn);
            var cosine = SyntheticTrajectory.Sine(turn + 0.25);
            // A background texel is a pixel at 64 pixels, so that clips of every size look alike.
            var texel = 64.0 / _size;
            Span<double> color = stackalloc double[3];
            Span<double> over = stackalloc double[3];
            for (var row = 0; row < _size; row++)
            {
                for (var column = 0; column < _size; column++)
                {
                    Sample(_background, (column + backX) * texel, (row + backY) * texel, color);
                    var dx = (column + 0.5 - x) / radius;
                    var dy = (row + 0.5 - y) / radius;
                    if ((dx * dx) + (dy * dy) < 2.6)
                    {
                        var u = (cosine * dx) + (sine * dy);
                        var v = (cosine * dy) - (sine * dx);
                        var inside = Math.Clamp(0.5 - (Outside(u, v) * radius), 0, 1);
                        if (inside > 0)
                        {
                            Sample(_sprite, 64 + (u * _texelsPerUnit), 64 + (v * _texelsPerUnit), over);
                            for (var c = 0; c < 3; c++)
                            {
                                color[c] += inside * (over[c] - color[c]);
                            }
                        }
                    }

                    var at = ((row * _size) + column) * 3;
                    for (var c = 0; c < 3; c++)
                    {
                        rgb[at + c] = (byte)Math.Clamp((color[c] * light) + 0.5, 0, 255);
                    }
                }
            }
        }

        // Signed distance to the outline, in units of the radius; negative inside.
        private double Outside(double u, double v)
        {
            var polygon = double.NegativeInfinity;
            foreach (var (x, y, distance) in _edges)
            {
                polygon = Math.Max(polygon, (u * x) + (v * y) - distance);
            }

            foreach (var (x, y, radius) in _discs)
            {
                polygon = Math.Min(polygon, Math.Sqrt(((u - x) * (u - x)) + ((v - y) * (v - y))) - radius);
            }

            return polygon;
        }

        private static ((double, double, double)[] Edges, (double, double, double)[] Discs) Shape(ref CounterRandom random)
        {
            var edges = new (double, double, double)[3 + random.NextInt(4)];
            var first = random.NextDouble();
            for (var i = 0; i < edges.Length; i++)
            {
                var turn = first + ((i + random.Uniform(-0.2, 0.2)) / edges.Length);
                edges[i] = (SyntheticTrajectory.Sine(turn + 0.25), SyntheticTrajectory.Sine(turn), random.Uniform(0.55, 0.9));
            }

            var discs = new (double, double, double)[random.NextInt(3)];
            for (var i = 0; i < discs.Length; i++)
            {
                var turn = random.NextDouble();
                discs[i] = (0.7 * SyntheticTrajectory.Sine(turn + 0.25), 0.7 * SyntheticTrajectory.Sine(turn), random.Uniform(0.3, 0.5));
            }

            return (edges, discs);
        }

        // Two colours whose brightness differs by at least so many levels.
        private static (double[] Dark, double[] Bright) Colours(ref CounterRandom random, double contrast)
        {
            while (true)
            {
                double[] one = [random.Uniform(10, 245), random.Uniform(10, 245), random.Uniform(10, 245)];
                double[] two = [random.Uniform(10, 245), random.Uniform(10, 245), random.Uniform(10, 245)];
                var difference = (0.3 * (two[0] - one[0])) + (0.6 * (two[1] - one[1])) + (0.1 * (two[2] - one[2]));
                if (difference >= contrast && difference <= contrast + 70)
                {
                    return (one, two);
                }
            }
        }

        // Noise of two octaves, stripes and squares in a random mixture: [Repeat, Repeat, 3].
        private static double[] Texture(ref CounterRandom random, double[] dark, double[] bright, bool sharp)
        {
            var coarse = Noise(ref random, 8);
            var fine = Noise(ref random, 16);
            var kind = random.NextInt(3);
            // Whole numbers of waves over the texture, so that it repeats without a seam.
            var wavesX = random.NextInt(12) - 6;
            var wavesY = 6 + random.NextInt(6);
            (wavesX, wavesY) = random.Bernoulli(0.5) ? (wavesY, wavesX) : (wavesX, wavesY);
            var texture = new double[Repeat * Repeat * 3];
            for (var row = 0; row < Repeat; row++)
            {
                for (var column = 0; column < Repeat; column++)
                {
                    var noise = (0.65 * coarse[(row * Repeat) + column]) + (0.35 * fine[(row * Repeat) + column]);
                    var wave = SyntheticTrajectory.Sine(((double)((wavesX * column) + (wavesY * row)) / Repeat) + (0.3 * noise));
                    var across = SyntheticTrajectory.Sine(((double)((wavesY * column) - (wavesX * row)) / Repeat) + (0.3 * noise));
                    var value = kind switch
                    {
                        0 => 2.2 * (noise - 0.5),
                        1 => wave,
                        _ => wave * across * 1.5,
                    };
                    var level = sharp ? Math.Clamp(0.5 + (1.5 * value), 0, 1) : Math.Clamp(0.5 + (0.5 * value), 0, 1);
                    level = (0.85 * level) + (0.15 * noise);
                    for (var c = 0; c < 3; c++)
                    {
                        texture[(((row * Repeat) + column) * 3) + c] = dark[c] + (level * (bright[c] - dark[c]));
                    }
                }
            }

            return texture;
        }

        // Smoothly interpolated random values on a repeating grid of so many cells, 0 to 1.
        private static double[] Noise(ref CounterRandom random, int cells)
        {
            var grid = new double[cells * cells];
            for (var i = 0; i < grid.Length; i++)
            {
                grid[i] = random.NextDouble();
            }

            var noise = new double[Repeat * Repeat];
            for (var row = 0; row < Repeat; row++)
            {
                for (var column = 0; column < Repeat; column++)
                {
                    double y = (double)row * cells / Repeat, x = (double)column * cells / Repeat;
                    int top = (int)y, left = (int)x;
                    double fy = Smooth(y - top), fx = Smooth(x - left);
                    int bottom = (top + 1) % cells, right = (left + 1) % cells;
                    var upper = grid[(top * cells) + left] + (fx * (grid[(top * cells) + right] - grid[(top * cells) + left]));
                    var lower = grid[(bottom * cells) + left] + (fx * (grid[(bottom * cells) + right] - grid[(bottom * cells) + left]));
                    noise[(row * Repeat) + column] = upper + (fy * (lower - upper));
                }
            }

            return noise;

            static double Smooth(double t) => t * t * (3 - (2 * t));
        }

        // Bilinear, repeating.
        private static void Sample(double[] texture, double x, double y, Span<double> color)
        {
            double left = Math.Floor(x), top = Math.Floor(y);
            double fx = x - left, fy = y - top;
            int x0 = (int)left & (Repeat - 1), y0 = (int)top & (Repeat - 1);
            int x1 = (x0 + 1) & (Repeat - 1), y1 = (y0 + 1) & (Repeat - 1);
            for (var c = 0; c < 3; c++)
            {
                var a = texture[(((y0 * Repeat) + x0) * 3) + c];
                var b = texture[(((y0 * Repeat) + x1) * 3) + c];
                var d = texture[(((y1 * Repeat) + x0) * 3) + c];
                var e = texture[(((y1 * Repeat) + x1) * 3) + c];
                var upper = a + (fx * (b - a));
                var lower = d + (fx * (e - d));
                color[c] = upper + (fy * (lower - upper));
            }
        }
    }
}
