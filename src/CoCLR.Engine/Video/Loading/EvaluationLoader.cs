// Why this exists: every clip and crop that is evaluated, once, in a fixed order.
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Video.Loading;

/// <summary>
/// Sliding clips of every video (starts every T x stride / 2 - 1 frames; a short video is one clip padded on the left) times the crops of
/// <see cref="EvaluationCrops"/> (method.md 1e), in batches; the last one may be smaller. Batches follow the items' order: all clips of a
/// video lie together, for each clip its crops. <see cref="ClipBatch.Items"/> says where each row belongs.
/// </summary>
public sealed class EvaluationLoader : IDisposable
{
    private static readonly ulong OneClipPurpose = CounterRandom.Purpose("evaluation-one-clip");
    private readonly IReadOnlyList<ClipView> _views;
    private readonly IReadOnlyList<ClipItem> _items;
    private readonly EvaluationCrops _crops;
    private readonly LoaderOptions _options;
    private readonly int _size;
    private readonly (int First, int Every) _share;
    private readonly List<(int Item, int Clip, int Start)> _clips = [];
    private ClipPipeline? _pipeline;

    /// <summary>Creates the loader and lists the clips; nothing is read before the first <see cref="Next"/>.</summary>
    /// <param name="views">Usually one view.</param>
    /// <param name="items">The videos.</param>
    /// <param name="augmentation">Size; of the rest only the evaluation crop and the reference's jitter matter.</param>
    /// <param name="options">Clips a batch, clip length, workers, device.</param>
    /// <param name="mode">Crops a clip.</param>
    /// <param name="oneRandomClip">One random clip a video, drawn from the seed, instead of all (the reference's retrieval gallery,
    /// method.md 1e).</param>
    /// <param name="mostClips">Clips of a video at most, spread evenly over it.</param>
    /// <param name="share">Which of the batches are made: this one, and every so many after it; all when null.</param>
    public EvaluationLoader(
        IReadOnlyList<ClipView> views,
        IReadOnlyList<ClipItem> items,
        AugmentationOptions augmentation,
        LoaderOptions options,
        CropMode mode = CropMode.Center,
        bool oneRandomClip = false,
        int mostClips = int.MaxValue,
        (int First, int Every)? share = null)
    {
        options.Check();
        _share = share ?? (0, 1);
        _views = views;
        _items = items;
        _options = options;
        _size = augmentation.Size;
        _crops = new EvaluationCrops(augmentation, mode);
        for (var item = 0; item < items.Count; item++)
        {
            var length = items[item].Length(views);
            var random = new CounterRandom(options.Seed, OneClipPurpose, item);
            int[] starts = oneRandomClip
                ? [ClipSampling.DrawStart(ref random, length, options.Frames, options.FrameStride)]
                : ClipSampling.EvaluationStarts(length, options.Frames, options.FrameStride);
            var count = Math.Min(starts.Length, mostClips);
            for (var i = 0; i < count; i++)
            {
                var clip = count == starts.Length ? i : ((2 * i) + 1) * starts.Length / (2 * count);
                _clips.Add((item, clip, starts[clip]));
            }
        }
    }

    /// <summary>Rows of all batches together: clips times crops.</summary>
    public long Rows => (long)_clips.Count * _crops.Count;

    /// <summary>Batches in all.</summary>
    public long Batches => (Rows + _options.BatchSize - 1) / _options.BatchSize;

    /// <summary>How long the consumer waited.</summary>
    public LoaderWait Wait => _pipeline?.Wait ?? default;

    /// <summary>The next batch, [rows, 3, T, S, S] a view; null after the last.</summary>
    /// <param name="cancellationToken">Stops waiting.</param>
    public ClipBatch? Next(CancellationToken cancellationToken = default)
    {
        _pipeline ??= new ClipPipeline(_views, _items, _options, _size, Plan);
        return _pipeline.Next(cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose() => _pipeline?.Dispose();

    private BatchPlan? Plan(long position)
    {
        var batch = _share.First + (position * _share.Every);
        var first = batch * _options.BatchSize;
        if (first >= Rows)
        {
            return null;
        }

        var requests = new ClipRequest[(int)Math.Min(_options.BatchSize, Rows - first)];
        for (var i = 0; i < requests.Length; i++)
        {
            var (item, clip, start) = _clips[(int)((first + i) / _crops.Count)];
            var crop = (int)((first + i) % _crops.Count);
            var (_, height, width, _) = _views[0].Source.Shape(_items[item].VideoInView[0]);
            requests[i] = new ClipRequest(
                item,
                ClipSampling.Frames(_items[item].Length(_views), _options.Frames, _options.FrameStride, start),
                _crops.Get(crop, width, height, _options.Seed, item, clip),
                clip,
                crop);
        }

        return new BatchPlan(0, (int)batch, requests, 1);
    }
}
