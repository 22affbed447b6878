// Why this exists: what is sampled from: videos that every view has, with what training needs to know of them.
using CoCLR.Core;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Video.Loading;

/// <summary>One view of the data: its frames and whether they are flow.</summary>
/// <param name="Source">The frames.</param>
/// <param name="Flow">True for optical flow.</param>
public sealed record ClipView(IClipSource Source, bool Flow)
{
    /// <summary>The view of a store: two channels are flow.</summary>
    /// <param name="store">An open store.</param>
    public static ClipView Of(ClipStore store) => new(store, store.Channels == 2);
}

/// <summary>One video as the loaders see it.</summary>
/// <param name="VideoInView">Its index in the source of each view.</param>
/// <param name="Label">Class from 0, or -1.</param>
/// <param name="Group">Source video: siblings share it.</param>
public sealed record ClipItem(int[] VideoInView, int Label = -1, int Group = -1)
{
    /// <summary>
    /// The videos of a split that every store has (matched by id), in the first store's order. Videos without a group get one of their own.
    /// </summary>
    /// <param name="stores">One store a view.</param>
    /// <param name="split">Which part; null for all videos.</param>
    /// <param name="minimumFrames">Videos with fewer frames in any view are left out (method.md 1d: half a clip of padding is allowed, 18
    /// frames for T = 32).</param>
    public static IReadOnlyList<ClipItem> FromStores(IReadOnlyList<ClipStore> stores, VideoSplit? split = null, int minimumFrames = 1)
    {
        var items = new List<ClipItem>();
        var ownGroup = stores[0].Videos.Count == 0 ? 0 : stores[0].Videos.Max(video => video.Group) + 1;
        for (var i = 0; i < stores[0].Count; i++)
        {
            var video = stores[0].Videos[i];
            if (split is not null && video.Split != split)
            {
                continue;
            }

            var indices = new int[stores.Count];
            indices[0] = i;
            var everywhere = video.Frames >= minimumFrames;
            for (var view = 1; view < stores.Count && everywhere; view++)
            {
                everywhere = stores[view].TryIndexOf(video.Id, out indices[view])
                    && stores[view].Videos[indices[view]].Frames >= minimumFrames;
            }

            if (everywhere)
            {
                items.Add(new ClipItem(indices, video.Label, video.Group >= 0 ? video.Group : ownGroup + i));
            }
        }

        return items;
    }

    /// <summary>Frames that all views have: flow has one fewer than RGB.</summary>
    /// <param name="views">The views.</param>
    public int Length(IReadOnlyList<ClipView> views)
    {
        var length = int.MaxValue;
        for (var view = 0; view < views.Count; view++)
        {
            length = Math.Min(length, views[view].Source.Shape(VideoInView[view]).Frames);
        }

        return length;
    }
}

/// <summary>How batches are made.</summary>
public sealed record LoaderOptions
{
    /// <summary>Samples (pre-training, probe) or clips (evaluation) a batch.</summary>
    public required int BatchSize { get; init; }

    /// <summary>Frames of a clip, T.</summary>
    public int Frames { get; init; } = 32;

    /// <summary>Distance of neighbouring frames of a clip (the reference's ds).</summary>
    public int FrameStride { get; init; } = 1;

    /// <summary>The experiment's seed.</summary>
    public long Seed { get; init; }

    /// <summary>Threads that augment; 0 takes half the processors, at least 1 and at most 16. The batches do not depend on it.</summary>
    public int Workers { get; init; }

    /// <summary>Batches made ahead.</summary>
    public int Prefetch { get; init; } = 2;

    /// <summary>Device of the batches' tensors.</summary>
    public TorchSharp.torch.Device Device { get; init; } = TorchSharp.torch.CPU;

    /// <summary>Augment on <see cref="Device"/>: stored bytes travel instead of floats. Default: where the device is not the CPU.</summary>
    public bool? AugmentOnDevice { get; init; }

    internal bool AugmentsOnDevice => AugmentOnDevice ?? (Device.type != TorchSharp.DeviceType.CPU);

    internal int WorkerCount => Workers > 0 ? Workers : Math.Clamp(Environment.ProcessorCount / 2, 1, 16);

    internal void Check()
    {
        if (BatchSize < 1 || Frames < 1 || FrameStride < 1 || Prefetch < 1 || Workers < 0)
        {
            throw new UserErrorException(
                $"Loader settings are out of range: batch size {BatchSize}, frames {Frames}, frame stride {FrameStride}, prefetch "
                    + $"{Prefetch} must be at least 1, workers {Workers} at least 0.",
                ExitCodes.BadConfiguration);
        }
    }
}
