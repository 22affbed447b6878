// Why this exists: extraction, probes and fine-tuning want batches of clips and which video each is of; where they come from is the
// loader's business.
using CoCLR.Engine.Collectives;
using static TorchSharp.torch;

namespace CoCLR.Engine.Features;

/// <summary>Some clips of a set of videos. Whoever takes them from a pass disposes of them.</summary>
/// <param name="Clips">[B,3,T,H,W], float, normalised, on the device of the network.</param>
/// <param name="Videos">For each clip the row of its video in the set; the same video may be there several times (sliding clips,
/// crops).</param>
/// <param name="Owner">What to dispose of instead of the tensor, for memory that is used again.</param>
public sealed record VideoClips(Tensor Clips, int[] Videos, IDisposable? Owner = null) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => (Owner ?? Clips).Dispose();
}

/// <summary>
/// A set of videos as batches of clips: augmented and in random order for training, sliding clips (and crops) in order for testing.
/// </summary>
public interface IClipBatches
{
    /// <summary>N video ids.</summary>
    IReadOnlyList<string> Ids { get; }

    /// <summary>N class indices, -1 where unknown; null without labels.</summary>
    IReadOnlyList<int>? Labels { get; }

    /// <summary>Class names by class index; empty without labels.</summary>
    IReadOnlyList<string> ClassNames { get; }

    /// <summary>N source groups, or null.</summary>
    IReadOnlyList<string>? Groups { get; }

    /// <summary>Clips in one pass, for progress.</summary>
    int ClipsInPass { get; }

    /// <summary>Ranks that share a pass: each is given every World-th batch, from its own number on.</summary>
    ICollective Ranks => Alone.Instance;

    /// <summary>Clips of a batch; the last of a pass may have fewer. Needed where several ranks share a pass.</summary>
    int ClipsPerBatch => 0;

    /// <summary>One pass over the set.</summary>
    /// <param name="epoch">From 1; the same epoch gives the same clips.</param>
    /// <param name="cancellationToken">Ends the pass.</param>
    IEnumerable<VideoClips> Pass(int epoch, CancellationToken cancellationToken = default);
}

/// <summary>How far a pass is.</summary>
/// <param name="Done">Clips done.</param>
/// <param name="Total">Clips in the pass.</param>
public readonly record struct PassProgress(int Done, int Total);
