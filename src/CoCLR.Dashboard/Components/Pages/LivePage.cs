// Why this exists: what every live page does alike: know the user, keep the state in the address, render again when something changed,
// and let go at the end.
using System.Security.Claims;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Authorization;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Base of live pages.</summary>
public abstract class LivePage : ComponentBase, IDisposable
{
    private Subscription? _changes;
    private string? _listening;

    [Inject]
    protected RunStore Store { get; set; } = null!;

    [Inject]
    protected SettingsFile Settings { get; set; } = null!;

    [Inject]
    protected LiveFeed Feed { get; set; } = null!;

    [Inject]
    protected NavigationManager Navigation { get; set; } = null!;

    [Inject]
    protected TimeProvider Clock { get; set; } = null!;

    [CascadingParameter]
    protected Task<AuthenticationState>? UserTask { get; set; }

    /// <summary>The person who looks.</summary>
    protected ClaimsPrincipal User { get; private set; } = new();

    /// <summary>The time, once a render.</summary>
    protected DateTimeOffset Now => Clock.GetUtcNow();

    /// <summary>Run that is listened to; all when null.</summary>
    protected virtual string? Listening => null;

    /// <summary>Least time between two renders that changes cause.</summary>
    protected virtual TimeSpan Interval => TimeSpan.FromMilliseconds(400);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Lets go.</summary>
    /// <param name="disposing">Always true.</param>
    protected virtual void Dispose(bool disposing) => _changes?.Dispose();

    /// <inheritdoc/>
    protected override async Task OnParametersSetAsync()
    {
        if (UserTask != null)
        {
            User = (await UserTask).User;
        }

        Refresh();
    }

    /// <summary>Reads what the page shows from the store.</summary>
    protected virtual void Refresh()
    {
    }

    /// <inheritdoc/>
    protected override void OnAfterRender(bool firstRender)
    {
        string key = Listening ?? LiveFeed.All;
        if (_listening != key)
        {
            _changes?.Dispose();
            _listening = key;
            _changes = Feed.Listen(key, Interval, () => InvokeAsync(() =>
            {
                Refresh();
                StateHasChanged();
            }));
        }
    }

    /// <summary>Puts state into the address without a new entry in the history.</summary>
    /// <param name="values">Names and values; null takes a name away.</param>
    protected void SetQuery(params (string Name, object? Value)[] values) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(values.ToDictionary(v => v.Name, v => v.Value is "" ? null : v.Value)),
            replace: true);
}
