// Why this exists: takes the file or the clip to search by, tells how far the search is, and lets it be ended.
using System.Globalization;
using System.Text.RegularExpressions;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Forms;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Search by a video.</summary>
public sealed partial class VideoSearch : IAsyncDisposable
{
    private string[] _stages = [];
    private string _stage = "";
    private bool _busy;
    private string _doing = "";
    private double? _percent;
    private string? _problem;
    private string _name = "";
    private string _link = "";
    private Neighbour[]? _found;
    private string? _shown;
    private ElementReference _drop;
    private IJSObjectReference? _module;
    private CancellationTokenSource? _cancel;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    /// <summary>A clip of the run to search by; none when null.</summary>
    [Parameter]
    public string? Clip { get; set; }

    [Inject]
    private QueryVideos Queries { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Cancel();
        try
        {
            if (_module != null)
            {
                await _module.DisposeAsync();
            }
        }
        catch (JSDisconnectedException)
        {
            // The page is gone, and its preview with it.
        }
    }

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _stages = [.. Info.Stages.Where(s => s.Name.StartsWith("retrieve-", StringComparison.Ordinal) && s.Phase == StagePhase.Succeeded)
            .Select(s => s.Name)];
        if (!_stages.Contains(_stage))
        {
            _stage = _stages.FirstOrDefault() ?? "";
        }

        if (_stage.Length > 0 && Clip != null && _shown != Clip + _stage)
        {
            _shown = Clip + _stage;
            SearchClip(Clip);
        }
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (_module == null && _stages.Length > 0 && Queries.CanSearch)
        {
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/search.js");
            await _module.InvokeVoidAsync("attach", _drop);
            // Until now nobody would have heard of a file that was chosen.
            StateHasChanged();
        }
    }

    private void ChooseStage(string stage)
    {
        _stage = stage;
        OnParametersSet();
    }

    private void TakeLink(string link)
    {
        _link = link;
        if (ClipOf().Match(link) is { Success: true } match)
        {
            Navigation.NavigateTo(Navigation.GetUriWithQueryParameter("clip",
                Uri.UnescapeDataString(match.Groups[1].Value.Replace('+', ' '))), replace: true);
        }
    }

    private void SearchClip(string id)
    {
        (_name, _problem, _found) = (id, null, null);
        try
        {
            _found = QueryVideos.NearestTo(Info, _stage, id);
        }
        catch (UserErrorException error)
        {
            _problem = error.Message;
        }
    }

    private async Task SearchAsync(InputFileChangeEventArgs e)
    {
        if (Clip != null)
        {
            Navigation.NavigateTo(Navigation.GetUriWithQueryParameter("clip", (string?)null), replace: true);
        }

        _cancel = new CancellationTokenSource();
        (_busy, _problem, _found, _name, _doing, _percent) = (true, null, null, e.File.Name, "Waiting for its turn …", null);
        StateHasChanged();
        try
        {
            _found = await Queries.SearchAsync(Info, _stage, e.File, doing => InvokeAsync(() => Tell(doing)), _cancel.Token);
        }
        catch (UserErrorException error)
        {
            _problem = error.Message;
        }
        catch (OperationCanceledException)
        {
            _problem = "The search was ended.";
        }
        finally
        {
            _busy = false;
            _cancel.Dispose();
            _cancel = null;
        }
    }

    private void Tell(string doing)
    {
        _doing = doing;
        _percent = Percent().Match(doing) is { Success: true } match
            ? double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : null;
        StateHasChanged();
    }

    private void Cancel() => _cancel?.Cancel();

    [GeneratedRegex(@"[?&](?:clip|id|q)=([^&#]+)", RegexOptions.NonBacktracking)]
    private static partial Regex ClipOf();

    [GeneratedRegex(@"(\d+) %", RegexOptions.NonBacktracking)]
    private static partial Regex Percent();
}
