// Why this exists: sends a run's events and artifacts to a dashboard that does not see the run folder. The run folder is the buffer: what could not be sent
// is sent later, also by the next stage or attempt, and sending a thing twice changes nothing (the identity of an event, the checksum of an artifact).
using System.Globalization;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Runs;

namespace CoCLR.Cli.Hosting;

/// <summary>Follows events.jsonl and posts what it gains, and the artifacts that it names, to COCLR_DASHBOARD_URL.</summary>
internal sealed class EventSender : IAsyncDisposable
{
    private const int MaxBody = 60 * 1024;
    private const int MaxUpload = 8 << 20;
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan SlowLook = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RequestLimit = TimeSpan.FromSeconds(60);

    // A stage that holds a device never waits for a dashboard; a process that was asked to end waits even less.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Haste = TimeSpan.FromSeconds(1);
    private readonly string _address;
    private readonly string? _tokenFile;
    private readonly TimeSpan _finalPatience;
    private readonly RunFolder _folder;
    private readonly string _planFile;
    private readonly string? _ownStage;
    private readonly CancellationToken _hurry;
    private readonly HttpClient _client;
    private readonly CancellationTokenSource _ending = new();
    private readonly CancellationTokenSource _abort = new();
    private readonly List<StageFeed> _feeds = [];
    private readonly Task _loop;
    private bool _planSent;
    private bool? _all;

    /// <summary>Begins to send.</summary>
    /// <param name="dashboard">Address, with the path below which the dashboard is served.</param>
    /// <param name="folder">The run folder.</param>
    /// <param name="planFile">The plan that the stages follow; in a pod it lies outside the run folder.</param>
    /// <param name="stage">The stage of this process; null sends what every stage has left and lasts as long as something gets through.</param>
    /// <param name="hurry">The process was asked to end: it waits no longer for a dashboard.</param>
    /// <param name="finalPatience">How long the end waits; after the last stage, which nobody follows, how long nothing may get through.</param>
    /// <param name="transport">Takes the place of the network; for tests.</param>
    internal EventSender(
        Uri dashboard, RunFolder folder, string planFile, string? stage, CancellationToken hurry, TimeSpan? finalPatience = null, HttpMessageHandler? transport = null)
    {
        _address = dashboard.ToString().TrimEnd('/') + "/api/v1/ingest";
        _tokenFile = Environment.GetEnvironmentVariable("COCLR_DASHBOARD_TOKEN_FILE") is { Length: > 0 } file ? file : null;
        (_folder, _planFile, _ownStage, _hurry) = (folder, planFile, stage, hurry);
        _finalPatience = finalPatience ?? Patience;
        _client = new HttpClient(transport ?? new SocketsHttpHandler { AllowAutoRedirect = false }) { Timeout = RequestLimit };
        _loop = Task.Run(LoopAsync);
    }

    /// <summary>A sender to where the environment says; null when it says nothing.</summary>
    /// <param name="runFolder">The run folder.</param>
    /// <param name="planFile">The plan that the stage follows.</param>
    /// <param name="stage">The stage; null sends what every stage has left.</param>
    /// <param name="hurry">The process was asked to end.</param>
    /// <param name="finalPatience">As in the constructor.</param>
    public static EventSender? FromEnvironment(string runFolder, string planFile, string? stage, CancellationToken hurry, TimeSpan? finalPatience = null) =>
        Uri.TryCreate(Environment.GetEnvironmentVariable("COCLR_DASHBOARD_URL"), UriKind.Absolute, out Uri? dashboard)
            ? new EventSender(dashboard, new RunFolder(runFolder), planFile, stage, hurry, finalPatience)
            : null;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await EndAsync().ConfigureAwait(false);

    /// <summary>Sends what is left, as long as patience lasts, and ends.</summary>
    /// <returns>Whether everything was sent; what was not stays in the run folder.</returns>
    public async Task<bool> EndAsync()
    {
        if (_all is { } known)
        {
            return known;
        }

        await _ending.CancelAsync().ConfigureAwait(false);
        bool asked = _hurry.IsCancellationRequested;
        using var patience = new CancellationTokenSource(asked ? Haste : _finalPatience);
        using CancellationTokenRegistration giveUp = asked ? default : _hurry.Register(patience.Cancel);
        bool all = false;
        try
        {
            await _loop.WaitAsync(patience.Token).ConfigureAwait(false);
            all = await FinishAsync(patience).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Out of patience: the run folder keeps the rest.
        }

        await _abort.CancelAsync().ConfigureAwait(false);
        await _loop.ConfigureAwait(false);
        if (!all)
        {
            Terminal.Say.Error("not everything reached the dashboard; the rest stays in the run folder and is sent with the next stage or attempt");
        }

        _client.Dispose();
        _ending.Dispose();
        _abort.Dispose();
        _all = all;
        return all;
    }

    /// <summary>Sends what is left; after the last stage the end lasts as long as something gets through.</summary>
    /// <returns>Whether everything was sent.</returns>
    private async Task<bool> FinishAsync(CancellationTokenSource patience)
    {
        bool last = _ownStage is null or Planner.ReportStage;
        while (true)
        {
            Sent sent = await SendAsync(patience.Token).ConfigureAwait(false);
            if (sent == Sent.Nothing)
            {
                return true;
            }

            if (sent == Sent.Some)
            {
                if (last && !_hurry.IsCancellationRequested)
                {
                    patience.CancelAfter(_finalPatience);
                }
            }
            else if (sent == Sent.Away && !last)
            {
                return false;
            }
            else
            {
                await Task.Delay(Interval, patience.Token).ConfigureAwait(false);
            }
        }
    }

    private async Task LoopAsync()
    {
        TimeSpan wait = Interval;
        using var watch = new FolderWatch();
        try
        {
            while (!_ending.IsCancellationRequested)
            {
                Sent sent = await SendAsync(_abort.Token).ConfigureAwait(false);
                wait = sent is Sent.Failed or Sent.Away ? TimeSpan.FromTicks(Math.Min(MaxBackoff.Ticks, wait.Ticks * 2)) : Interval;
                if (sent == Sent.Nothing)
                {
                    watch.Add(_ownStage == null ? _folder.Root : _folder.Stage(_ownStage));
                    await watch.WaitAsync(SlowLook, _ending.Token).ConfigureAwait(false);
                }

                if (sent != Sent.Some)
                {
                    // After news a little while: many events make one request.
                    await Task.Delay(wait, _ending.Token).ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The stage ends.
        }
    }

    /// <summary>One request's worth of what is unsent: the own stage first, then what earlier stages left.</summary>
    private async Task<Sent> SendAsync(CancellationToken stop)
    {
        try
        {
            if (_feeds.Count == 0)
            {
                // Another stage that has not succeeded may be running: its own process sends what it tells.
                IEnumerable<string> others = _folder.StageNames().Where(s => _ownStage == null ? File.Exists(_folder.EventsFile(s)) : s != _ownStage && _folder.HasSucceeded(s));
                _feeds.AddRange((_ownStage == null ? others : others.Prepend(_ownStage)).Select(s => new StageFeed(_folder, s)));
            }

            foreach (StageFeed feed in _feeds)
            {
                if (feed.Batch(MaxBody) is { Count: > 0 } lines)
                {
                    if (!await SendPlanAsync(stop).ConfigureAwait(false))
                    {
                        return Sent.Failed;
                    }

                    HttpStatusCode answer = await SendTextAsync(HttpMethod.Post, _address, string.Join('\n', lines) + "\n", "application/x-ndjson", stop).ConfigureAwait(false);

                    // A line that the dashboard calls wrong would block all that follow: it stays in events.jsonl, and the rest goes on.
                    if (!IsDone(answer))
                    {
                        return Sent.Failed;
                    }

                    feed.Took(lines.Count);
                    return Sent.Some;
                }

                if (feed.NextUpload() is { } upload)
                {
                    switch (await UploadAsync(upload, stop).ConfigureAwait(false))
                    {
                        case Sent.Nothing:
                            feed.Uploaded(upload);
                            return Sent.Some;
                        case var other:
                            return other;
                    }
                }
            }

            return Sent.Nothing;
        }
        catch (HttpRequestException e) when (e.HttpRequestError is HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError)
        {
            return Sent.Away;
        }
        catch (Exception e) when (e is HttpRequestException or IOException or UnauthorizedAccessException || (e is TaskCanceledException && !stop.IsCancellationRequested))
        {
            return Sent.Failed;
        }
    }

    private static bool IsDone(HttpStatusCode status) => (int)status is >= 200 and < 300 || status is HttpStatusCode.BadRequest or HttpStatusCode.UnprocessableEntity;

    private async Task<bool> SendPlanAsync(CancellationToken stop)
    {
        if (!_planSent)
        {
            string plan = await File.ReadAllTextAsync(_planFile, stop).ConfigureAwait(false);
            _planSent = IsDone(await SendTextAsync(HttpMethod.Put, $"{_address}/plan", plan, "application/json", stop).ConfigureAwait(false));
        }

        return _planSent;
    }

    /// <summary>Sends the next piece of a file. Nothing: it is whole there (or can never be); Some: a piece went; Failed: later.</summary>
    private async Task<Sent> UploadAsync(Upload upload, CancellationToken stop)
    {
        var file = new FileInfo(upload.Path);
        if (!file.Exists)
        {
            return Sent.Nothing;
        }

        FileStream stream = file.OpenRead();
        await using (stream.ConfigureAwait(false))
        {
            upload.Sha256 ??= Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, stop).ConfigureAwait(false));
            if (upload.Offset is not { } offset)
            {
                using HttpRequestMessage question = await RequestAsync(HttpMethod.Get, upload.Address(_address), stop).ConfigureAwait(false);
                question.Headers.Add("X-Sha256", upload.Sha256);
                question.Headers.Add("Upload-Length", stream.Length.ToString(CultureInfo.InvariantCulture));
                using HttpResponseMessage known = await _client.SendAsync(question, stop).ConfigureAwait(false);
                if (!known.IsSuccessStatusCode)
                {
                    return IsDone(known.StatusCode) || known.StatusCode == HttpStatusCode.NotFound ? Sent.Nothing : Sent.Failed;
                }

                Standing standing = (await known.Content.ReadFromJsonAsync<Standing>(JsonSerializerOptions.Web, stop).ConfigureAwait(false))!;
                if (standing.Complete)
                {
                    return Sent.Nothing;
                }

                offset = standing.Offset <= stream.Length ? standing.Offset : 0;
            }

            stream.Position = offset;
            byte[] piece = new byte[(int)Math.Min(MaxUpload, stream.Length - offset)];
            await stream.ReadExactlyAsync(piece, stop).ConfigureAwait(false);
            using HttpRequestMessage request = await RequestAsync(HttpMethod.Put, upload.Address(_address), stop).ConfigureAwait(false);
            request.Content = new ByteArrayContent(piece);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
            request.Headers.Add("Upload-Offset", offset.ToString(CultureInfo.InvariantCulture));
            request.Headers.Add("Upload-Length", stream.Length.ToString(CultureInfo.InvariantCulture));
            request.Headers.Add("X-Sha256", upload.Sha256);
            using HttpResponseMessage answer = await _client.SendAsync(request, stop).ConfigureAwait(false);
            switch (answer.StatusCode)
            {
                case HttpStatusCode.OK or HttpStatusCode.BadRequest or HttpStatusCode.RequestEntityTooLarge:
                    return Sent.Nothing;
                case HttpStatusCode.Accepted:
                    upload.Offset = offset + piece.Length;
                    return Sent.Some;
                default:
                    // Another connection sends it, the checksum of pieces of two attempts did not match, or the disk is full: ask again where it stands.
                    (upload.Offset, upload.Sha256) = (null, null);
                    return Sent.Failed;
            }
        }
    }

    private async Task<HttpStatusCode> SendTextAsync(HttpMethod method, string address, string text, string mediaType, CancellationToken stop)
    {
        using var packed = new MemoryStream();
        await using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            await gzip.WriteAsync(Encoding.UTF8.GetBytes(text), stop).ConfigureAwait(false);
        }

        using HttpRequestMessage request = await RequestAsync(method, address, stop).ConfigureAwait(false);
        request.Content = new ByteArrayContent(packed.ToArray());
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(mediaType);
        request.Content.Headers.ContentEncoding.Add("gzip");
        using HttpResponseMessage response = await _client.SendAsync(request, stop).ConfigureAwait(false);
        return response.StatusCode;
    }

    private async Task<HttpRequestMessage> RequestAsync(HttpMethod method, string address, CancellationToken stop)
    {
        var request = new HttpRequestMessage(method, address);
        if (_tokenFile != null)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(_tokenFile, stop).ConfigureAwait(false)).Trim());
        }

        return request;
    }

    private enum Sent
    {
        Nothing,
        Some,
        Failed,
        Away,
    }

    private sealed record Standing(long Offset, bool Complete);

    /// <summary>A file on its way.</summary>
    private sealed class Upload(string place, string name, string path, string key)
    {
        public string Path { get; } = path;

        /// <summary>What artifacts.sent remembers: the file and its content.</summary>
        public string Key { get; } = key;

        /// <summary>Name of the file.</summary>
        public string Name { get; } = name;

        public string? Sha256 { get; set; }

        public long? Offset { get; set; }

        public string Address(string root) => $"{root}/artifacts/{Uri.EscapeDataString(place)}/{Uri.EscapeDataString(Name)}";
    }

    /// <summary>What of one stage is unsent. events.sent and artifacts.sent in the stage's folder remember it over restarts.</summary>
    private sealed class StageFeed
    {
        private readonly RunFolder _folder;
        private readonly string _stage;
        private readonly string _positionFile;
        private readonly string _uploadedFile;
        private readonly EventTail _tail;
        private readonly Queue<string> _unsent = new();
        private readonly List<Upload> _uploads = [];
        private readonly HashSet<string> _done;
        private bool _catchUp = true;

        public StageFeed(RunFolder folder, string stage)
        {
            (_folder, _stage) = (folder, stage);
            _positionFile = folder.EventsSentFile(stage);
            _uploadedFile = folder.ArtifactsSentFile(stage);
            _tail = new EventTail(folder.EventsFile(stage), position: File.Exists(_positionFile) && long.TryParse(File.ReadAllText(_positionFile), out long position) ? position : 0);
            _done = File.Exists(_uploadedFile) ? [.. File.ReadAllLines(_uploadedFile)] : [];
        }

        public List<string> Batch(int most)
        {
            if (_catchUp)
            {
                // Artifacts of events that an earlier process sent, whose files it did not.
                _catchUp = false;
                if (_tail.Position > 0)
                {
                    var before = new EventTail(_folder.EventsFile(_stage));
                    for (IReadOnlyList<string> lines = before.ReadLines(); lines.Count > 0 && before.Position <= _tail.Position; lines = before.ReadLines())
                    {
                        foreach (string line in lines)
                        {
                            Note(line);
                        }
                    }
                }
            }

            if (_unsent.Count == 0)
            {
                foreach (string line in _tail.ReadLines(most * 4))
                {
                    _unsent.Enqueue(line);
                }
            }

            var batch = new List<string>();
            int length = 0;
            foreach (string line in _unsent)
            {
                if (batch.Count > 0 && length + line.Length >= most)
                {
                    break;
                }

                batch.Add(line);
                length += line.Length + 1;
            }

            return batch;
        }

        public void Took(int lines)
        {
            for (int i = 0; i < lines; i++)
            {
                Note(_unsent.Dequeue());
            }

            if (_unsent.Count == 0)
            {
                WholeFile.WriteText(_positionFile, _tail.Position.ToString(CultureInfo.InvariantCulture));
            }
        }

        public Upload? NextUpload() => _uploads.Count > 0 ? _uploads[0] : null;

        public void Uploaded(Upload upload)
        {
            _uploads.Remove(upload);
            _done.Add(upload.Key);
            File.AppendAllText(_uploadedFile, upload.Key + "\n");
            if (upload.Name == Path.GetFileName(EvaluationArtifacts.Previews) && File.Exists(upload.Path))
            {
                NotePreviews(upload.Path);
            }
        }

        private void Note(string line)
        {
            if (!line.Contains("\"artifact\"", StringComparison.Ordinal))
            {
                return;
            }

            if (EventLine.Parse(line) is ArtifactEvent artifact)
            {
                string key = $"{artifact.File} {artifact.Sha256}";
                if (_done.Contains(key))
                {
                    if (artifact.Name == Path.GetFileName(EvaluationArtifacts.Previews))
                    {
                        NotePreviews(Path.Combine(_folder.Root, artifact.File));
                    }
                }
                else
                {
                    _uploads.RemoveAll(u => u.Name == artifact.Name);
                    _uploads.Add(new Upload(_stage, artifact.Name, Path.Combine(_folder.Root, artifact.File), key));
                }
            }
        }

        /// <summary>The films and stills that previews.json lists.</summary>
        private void NotePreviews(string table)
        {
            PreviewTable? previews = null;
            try
            {
                previews = JsonSerializer.Deserialize<PreviewTable>(File.ReadAllBytes(table), CoclrJson.Compact);
            }
            catch (Exception e) when (e is JsonException or IOException)
            {
                // The next attempt writes it anew, with an event of its own.
            }

            foreach (string file in (previews?.Previews ?? []).SelectMany(p => new[] { p.Poster, p.Video }).Distinct(StringComparer.Ordinal).Where(f => !_done.Contains(f)))
            {
                _uploads.Add(new Upload(RunFolder.PreviewsName, Path.GetFileName(file), Path.Combine(_folder.Root, file), file));
            }
        }
    }
}
