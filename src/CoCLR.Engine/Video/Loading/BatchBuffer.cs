// Why this exists: batches are hundreds of megabytes; their memory is allocated once and written in place.
using System.Runtime.CompilerServices;
using CoCLR.Engine.Video.Augmentation;
using static TorchSharp.torch;

namespace CoCLR.Engine.Video.Loading;

/// <summary>
/// The memory of one batch: per view either the finished floats, or the bytes of the crops ([clips, T, largest crop height, largest crop
/// width, channels]) on their way to the device.
/// </summary>
internal sealed unsafe class BatchBuffer(int views, bool pinned) : IDisposable
{
    private readonly Tensor?[] _memory = new Tensor?[views];
    private readonly (int Height, int Width, int Channels)[] _staged = new (int Height, int Width, int Channels)[views];
    private readonly ClipTransform[][] _transforms = new ClipTransform[views][];

    /// <summary>Makes room for a plan.</summary>
    public void Prepare(BatchPlan plan, IReadOnlyList<ClipItem> items, IReadOnlyList<ClipView> all, LoaderOptions options, int size)
    {
        for (var view = 0; view < views; view++)
        {
            _transforms[view] = new ClipTransform[plan.Requests.Length];
            var (height, width, channels) = (1, 1, 3);
            for (var i = 0; i < plan.Requests.Length; i++)
            {
                var request = plan.Requests[i];
                var first = all[0].Source.Shape(items[request.Item].VideoInView[0]);
                var own = all[view].Source.Shape(items[request.Item].VideoInView[view]);
                var transform = request.Transform.ScaledTo(first.Width, first.Height, own.Width, own.Height).ForView(all[view].Flow);
                _transforms[view][i] = transform;
                height = Math.Max(height, transform.Crop.Height);
                width = Math.Max(width, transform.Crop.Width);
                channels = own.Channels;
            }

            _staged[view] = (height, width, channels);
            var elements = options.AugmentsOnDevice
                ? (long)plan.Requests.Length * options.Frames * height * width * channels
                : (long)plan.Requests.Length * options.Frames * 3 * size * size;
            Reserve(view, elements, options.AugmentsOnDevice ? ScalarType.Byte : ScalarType.Float32);
        }
    }

    /// <summary>Writes one clip of one view; called from many threads for different clips.</summary>
    public void Fill(
        ClipAugmenter augmenter,
        in ClipRequest request,
        int position,
        int view,
        IReadOnlyList<ClipItem> items,
        IReadOnlyList<ClipView> all,
        LoaderOptions options,
        int size)
    {
        var video = items[request.Item].VideoInView[view];
        var source = all[view].Source;
        var transform = _transforms[view][position];
        if (!options.AugmentsOnDevice)
        {
            var target = (float*)Pointer(view) + ((long)position * options.Frames * 3 * size * size);
            augmenter.Apply(source, video, request.Frames, transform, size, all[view].Flow, target);
            return;
        }

        var (height, width, channels) = _staged[view];
        var crop = transform.Crop;
        var (_, _, sourceWidth, _) = source.Shape(video);
        var rowBytes = width * channels;
        var bytes = Pointer(view) + ((long)position * options.Frames * height * rowBytes);
        foreach (var number in request.Frames)
        {
            var frame = source.Frame(video, number);
            for (var y = 0; y < crop.Height; y++)
            {
                var row = frame.Slice((((crop.Y + y) * sourceWidth) + crop.X) * channels, crop.Width * channels);
                row.CopyTo(new Span<byte>(bytes + ((long)y * rowBytes), row.Length));
            }

            bytes += (long)height * rowBytes;
        }
    }

    /// <summary>The views as tensors over this memory.</summary>
    public Tensor[] Batch(BatchPlan plan, int frames, int size)
    {
        var result = new Tensor[views];
        for (var view = 0; view < views; view++)
        {
            using var used = _memory[view]!.narrow(0, 0, (long)plan.Requests.Length * frames * 3 * size * size);
            result[view] = used.view(Shape(plan, frames, size)).DetachFromDisposeScope();
        }

        return result;
    }

    /// <summary>Uploads and, where bytes were staged, augments on the device.</summary>
    public Tensor[] Upload(BatchPlan plan, IReadOnlyList<ClipView> all, LoaderOptions options, int size)
    {
        var result = new Tensor[views];
        for (var view = 0; view < views; view++)
        {
            using var scope = NewDisposeScope();
            Tensor clips;
            if (options.AugmentsOnDevice)
            {
                var (height, width, channels) = _staged[view];
                long clipCount = plan.Requests.Length;
                var bytes = _memory[view]!.narrow(
                    0, 0, clipCount * options.Frames * height * width * channels).view(clipCount, options.Frames, height, width, channels);
                var relative = Array.ConvertAll(_transforms[view], t => t with { Crop = new CropBox(0, 0, t.Crop.Width, t.Crop.Height) });
                clips = TorchAugmentation.Apply(
                    bytes.to(options.Device), relative, size, all[view].Flow).view(Shape(plan, options.Frames, size));
            }
            else
            {
                var floats = _memory[view]!.narrow(
                    0, 0, (long)plan.Requests.Length * options.Frames * 3 * size * size).view(Shape(plan, options.Frames, size));
                clips = floats.to(options.Device);
            }

            result[view] = clips.DetachFromDisposeScope();
        }

        return result;
    }

    public void Dispose()
    {
        foreach (var memory in _memory)
        {
            memory?.Dispose();
        }
    }

    private static long[] Shape(BatchPlan plan, int frames, int size) => plan.ClipsPerSample == 1
        ? [plan.Requests.Length, 3, frames, size, size]
        : [plan.Requests.Length / plan.ClipsPerSample, plan.ClipsPerSample, 3, frames, size, size];

    private void Reserve(int view, long elements, ScalarType type)
    {
        if (_memory[view] is { } memory && memory.NumberOfElements >= elements)
        {
            return;
        }

        _memory[view]?.Dispose();
        using var scope = NewDisposeScope();
        var fresh = empty([elements], type);
        _memory[view] = (pinned ? fresh.pin_memory() : fresh).DetachFromDisposeScope();
    }

    private byte* Pointer(int view)
    {
        // A span over the whole memory would overflow beyond 2 GiB; the first element's address is all that is needed.
        using var first = _memory[view]!.narrow(0, 0, 1);
        return (byte*)Unsafe.AsPointer(ref first.bytes[0]);
    }
}
