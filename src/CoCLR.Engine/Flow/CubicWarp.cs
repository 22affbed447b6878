// Why this exists: warping fetches 16 neighbours of three images for every pixel; laid side by side, one register load fetches twelve of
// them.
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace CoCLR.Engine.Flow;

/// <summary>
/// The second frame and its central differences, interleaved as (value, d/dx, d/dy, 0) with a border of zeros, and their bicubic resampling
/// at displaced positions. As OpenCV's remap: coefficient -0.75, positions rounded to 1/32 pixel, zero outside the image.
/// </summary>
internal sealed unsafe class CubicWarp
{
    /// <summary>Positions are rounded to 1/<see cref="Steps"/> pixel.</summary>
    public const int Steps = 32;

    /// <summary>Zeros around the image: room for all four taps of a position that lies outside.</summary>
    public const int Border = 4;

    /// <summary>Coefficient of the cubic kernel, OpenCV's.</summary>
    public const float Coefficient = -0.75f;

    private const int Channels = 4;

    // Added to a float of small size it leaves the rounded integer in the low bits.
    private const float Rounder = 12582912f;
    private const int RounderBits = 0x4B400000;

    private readonly float* _pixels;
    private readonly float* _weights;
    private readonly float* _wideWeights;
    private readonly float* _ramp;
    private readonly float* _positionX;
    private readonly float* _positionY;
    private int _width;
    private int _height;
    private int _stride;

    /// <summary>Reserves memory.</summary>
    /// <param name="arena">Where it lives.</param>
    /// <param name="width">Greatest width.</param>
    /// <param name="height">Greatest height.</param>
    public CubicWarp(Arena arena, int width, int height)
    {
        _pixels = arena.Floats((nuint)(width + (2 * Border)) * (nuint)(height + (2 * Border)) * Channels);
        _weights = arena.Floats(Steps * 4);
        _wideWeights = arena.Floats(Steps * 16);
        var row = (nuint)(width + (2 * Plane.Pad));
        _ramp = arena.Floats(row);
        _positionX = arena.Floats(row);
        _positionY = arena.Floats(row);
        for (nuint x = 0; x < row; x++)
        {
            _ramp[x] = x;
        }

        for (var step = 0; step < Steps; step++)
        {
            var weights = Weights(step / (float)Steps);
            for (var tap = 0; tap < 4; tap++)
            {
                _weights[(step * 4) + tap] = weights[tap];
                for (var channel = 0; channel < Channels; channel++)
                {
                    _wideWeights[(step * 16) + (tap * Channels) + channel] = weights[tap];
                }
            }
        }
    }

    /// <summary>Takes an image, whose differences are central inside and one-sided, halved, at its borders.</summary>
    /// <param name="image">The image.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void SetImage(Plane image)
    {
        _width = image.Width;
        _height = image.Height;
        _stride = (image.Width + (2 * Border)) * Channels;
        new Span<float>(_pixels, (image.Height + (2 * Border)) * _stride).Clear();
        for (var y = 0; y < image.Height; y++)
        {
            var row = image.Row(y);
            var above = image.Row(Math.Max(y - 1, 0));
            var below = image.Row(Math.Min(y + 1, image.Height - 1));
            var output = _pixels + ((y + Border) * _stride) + (Border * Channels);
            for (var x = 0; x < image.Width; x++, output += Channels)
            {
                output[0] = row[x];
                output[1] = 0.5f * (row[Math.Min(x + 1, image.Width - 1)] - row[Math.Max(x - 1, 0)]);
                output[2] = 0.5f * (below[x] - above[x]);
            }
        }
    }

    /// <summary>Samples the image and its differences at x + u, y + v.</summary>
    /// <typeparam name="T">The lanes to compute positions with.</typeparam>
    /// <param name="u">Displacement in x.</param>
    /// <param name="v">Displacement in y.</param>
    /// <param name="value">Receives the image.</param>
    /// <param name="gradX">Receives the difference in x.</param>
    /// <param name="gradY">Receives the difference in y.</param>
    public void Sample<T>(Plane u, Plane v, Plane value, Plane gradX, Plane gradY)
        where T : struct, ILanes<T>
    {
        for (var y = 0; y < _height; y++)
        {
            Positions<T>(u.Row(y), _positionX, 0f, _ramp, _width);
            Positions<T>(v.Row(y), _positionY, y, null, _height);
            if (T.Count == 16)
            {
                SampleRow512(value.Row(y), gradX.Row(y), gradY.Row(y));
            }
            else
            {
                SampleRow128(value.Row(y), gradX.Row(y), gradY.Row(y));
            }
        }
    }

    private static float[] Weights(float f)
    {
        const float A = Coefficient;
        var w0 = (((((A * (f + 1)) - (5 * A)) * (f + 1)) + (8 * A)) * (f + 1)) - (4 * A);
        var w1 = ((((A + 2) * f) - (A + 3)) * f * f) + 1;
        var w2 = ((((A + 2) * (1 - f)) - (A + 3)) * (1 - f) * (1 - f)) + 1;
        return [w0, w1, w2, 1f - w0 - w1 - w2];
    }

    /// <summary>
    /// Positions in 1/32 pixel, as floats whose low bits hold the integer; far outside they stop where all taps are in the border.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Positions<T>(float* displacement, float* output, float start, float* ramp, int size)
        where T : struct, ILanes<T>
    {
        var least = T.Broadcast(1 - Border);
        var most = T.Broadcast(size + 1);
        var steps = T.Broadcast(Steps);
        var rounder = T.Broadcast(Rounder);
        var origin = T.Broadcast(start);
        for (var x = 0; x < _width; x += T.Count)
        {
            var position = (ramp is null ? origin : T.Load(ramp + x)) + T.Load(displacement + x);
            position = T.Min(T.Max(position, least), most);
            T.Store(output + x, (position * steps) + rounder);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SampleRow512(float* value, float* gradX, float* gradY)
    {
        var positionX = (int*)_positionX;
        var positionY = (int*)_positionY;
        var origin = _pixels + ((Border - 1) * (_stride + Channels));
        var stride = (nint)_stride;
        for (var x = 0; x < _width; x++)
        {
            var px = positionX[x] - RounderBits;
            var py = positionY[x] - RounderBits;
            var source = origin + ((py >> 5) * stride) + ((px >> 5) * Channels);
            var wy = _weights + ((py & (Steps - 1)) * 4);
            var sum = Vector512.Load(source) * Vector512.Create(wy[0]);
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(source + stride), Vector512.Create(wy[1]), sum);
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(source + (2 * stride)), Vector512.Create(wy[2]), sum);
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(source + (3 * stride)), Vector512.Create(wy[3]), sum);
            sum *= Vector512.Load(_wideWeights + ((px & (Steps - 1)) * 16));
            var half = sum.GetLower() + sum.GetUpper();
            var pixel = half.GetLower() + half.GetUpper();
            value[x] = pixel.GetElement(0);
            gradX[x] = pixel.GetElement(1);
            gradY[x] = pixel.GetElement(2);
        }
    }

    // The same sums in the same order, a quarter of a register at a time.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SampleRow128(float* value, float* gradX, float* gradY)
    {
        var positionX = (int*)_positionX;
        var positionY = (int*)_positionY;
        var origin = _pixels + ((Border - 1) * (_stride + Channels));
        var stride = (nint)_stride;
        for (var x = 0; x < _width; x++)
        {
            var px = positionX[x] - RounderBits;
            var py = positionY[x] - RounderBits;
            var source = origin + ((py >> 5) * stride) + ((px >> 5) * Channels);
            var wx = _weights + ((px & (Steps - 1)) * 4);
            var wy = _weights + ((py & (Steps - 1)) * 4);
            var w = Vector128.Create(wy[0]);
            var t0 = Vector128.Load(source) * w;
            var t1 = Vector128.Load(source + 4) * w;
            var t2 = Vector128.Load(source + 8) * w;
            var t3 = Vector128.Load(source + 12) * w;
            for (var row = 1; row < 4; row++)
            {
                source += stride;
                w = Vector128.Create(wy[row]);
                t0 = Vector128.FusedMultiplyAdd(Vector128.Load(source), w, t0);
                t1 = Vector128.FusedMultiplyAdd(Vector128.Load(source + 4), w, t1);
                t2 = Vector128.FusedMultiplyAdd(Vector128.Load(source + 8), w, t2);
                t3 = Vector128.FusedMultiplyAdd(Vector128.Load(source + 12), w, t3);
            }

            var pixel = ((t0 * wx[0]) + (t2 * wx[2])) + ((t1 * wx[1]) + (t3 * wx[3]));
            value[x] = pixel.GetElement(0);
            gradX[x] = pixel.GetElement(1);
            gradY[x] = pixel.GetElement(2);
        }
    }
}
