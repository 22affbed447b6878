// Why this exists: extraction and classifier training are tested on a network of a few weights and clips whose class is plain to see.
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Evaluation;

/// <summary>One convolution: clips [B,3,T,H,W] to a map [B,F,t,h,w].</summary>
internal sealed class TinyBackbone : Backbone
{
    private readonly TorchSharp.Modules.Conv3d _convolution;

    public TinyBackbone(int features = 6, long seed = 1)
        : base("Tiny", features)
    {
        TorchRuntime.Initialize();
        _convolution = nn.Conv3d(3, features, 3, padding: 1);
        using var generator = new Generator((ulong)seed, CPU);
        SeededInit.Normal(_convolution.weight, 0.3, generator);
        SeededInit.Normal(_convolution.bias!, 0.3, generator);
        register_module("convolution", _convolution);
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        return _convolution.forward(input).relu().MoveToOuterDisposeScope();
    }
}

/// <summary>Videos of one clip or several; a class is a colour, and every clip has noise of its own.</summary>
internal sealed class TinyClips(
    int videos, int classes, int batch = 4, int clipsPerVideo = 1, bool shuffle = false, long seed = 0) : IClipBatches
{
    public IReadOnlyList<string> Ids { get; } = [.. Enumerable.Range(0, videos).Select(i => $"video {i}")];

    public IReadOnlyList<int>? Labels { get; set; } = [.. Enumerable.Range(0, videos).Select(i => i % classes)];

    public IReadOnlyList<string> ClassNames { get; } = [.. Enumerable.Range(0, classes).Select(c => $"class {c}")];

    public IReadOnlyList<string>? Groups => null;

    public int ClipsInPass => videos * clipsPerVideo;

    /// <summary>A video that the pass leaves out, and a value that makes one clip not finite.</summary>
    public int? Missing { get; set; }

    public float? Poison { get; set; }

    public IEnumerable<VideoClips> Pass(int epoch, CancellationToken cancellationToken = default)
    {
        var order = Enumerable.Range(0, ClipsInPass).ToArray();
        if (shuffle)
        {
            order = new CounterRandom(seed, 1, epoch).Permutation(ClipsInPass);
        }

        foreach (var part in order.Where(c => c / clipsPerVideo != Missing).Chunk(batch))
        {
            yield return new VideoClips(stack([.. part.Select(c => Clip(c, epoch))]), [.. part.Select(c => c / clipsPerVideo)]);
        }
    }

    public Tensor Clip(int clip, int epoch)
    {
        var random = new CounterRandom(seed, 2, clip, shuffle ? epoch : 0);
        var label = clip / clipsPerVideo % classes;
        var values = new float[3 * 2 * 4 * 4];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)((0.3 * random.NextGaussian()) + (i / 32 == label % 3 ? 1 + (label / 3) : 0));
        }

        values[0] = Poison ?? values[0];
        return tensor(values, [3, 2, 4, 4]);
    }
}
