// Why this exists: tests need frames whose every pixel is known and differs between videos and frames.
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Augmentation;

internal sealed class SyntheticSource : IClipSource
{
    private readonly byte[][] _videos;
    private readonly (int Frames, int Height, int Width, int Channels)[] _shapes;

    public SyntheticSource(int seed, params (int Frames, int Height, int Width, int Channels)[] shapes)
    {
        _shapes = shapes;
        _videos = new byte[shapes.Length][];
        for (var v = 0; v < shapes.Length; v++)
        {
            var (frames, height, width, channels) = shapes[v];
            var random = new CounterRandom(seed, 0, v);
            var (phase, speed) = (random.NextDouble() * 6, 0.05 + (random.NextDouble() * 0.3));
            _videos[v] = new byte[frames * height * width * channels];
            for (var i = 0; i < _videos[v].Length; i++)
            {
                var channel = i % channels;
                var x = i / channels % width;
                var y = i / (channels * width) % height;
                var t = i / (channels * width * height);
                var wave = (Math.Sin(phase + (speed * (x + (2 * t)) * (channel + 1))) + Math.Cos((0.11 * y) - (0.3 * channel))) * 60;
                _videos[v][i] = (byte)(120 + wave + random.NextInt(16));
            }
        }
    }

    public int Count => _videos.Length;

    public static SyntheticSource Uniform(int seed, int videos, int frames, int height, int width, int channels = 3) =>
        new(seed, [.. Enumerable.Repeat((frames, height, width, channels), videos)]);

    public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) => _shapes[videoIndex];

    public ReadOnlySpan<byte> Frame(int videoIndex, int frame)
    {
        var (_, height, width, channels) = _shapes[videoIndex];
        var length = height * width * channels;
        return _videos[videoIndex].AsSpan(frame * length, length);
    }
}
