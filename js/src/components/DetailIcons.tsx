import type { ComponentChildren } from "preact";

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="1em" height="1em" aria-hidden="true">
      {children}
    </svg>
  );
}

export const CheckIcon = () => (
  <Icon>
    <path d="M3 8.6l3.2 3.2L13 4.8" />
  </Icon>
);

export const CrossIcon = () => (
  <Icon>
    <path d="M4 4l8 8M12 4l-8 8" />
  </Icon>
);

export const FlagIcon = () => (
  <Icon>
    <path d="M4 14V2.5" />
    <path d="M4 3h7.8l-1.6 2.8L11.8 8.600H4" />
  </Icon>
);

export const UndoIcon = () => (
  <Icon>
    <path d="M5.5 3L2.5 6l3 3" />
    <path d="M2.8 6H9.500a3.5 3.5 0 0 1 0 7H6.5" />
  </Icon>
);

export const RedoIcon = () => (
  <Icon>
    <path d="M10.5 3l3 3-3 3" />
    <path d="M13.2 6H6.500a3.5 3.5 0 0 0 0 7h3" />
  </Icon>
);

export const PreviousIcon = () => (
  <Icon>
    <path d="M10 3L5 8l5 5" />
  </Icon>
);

export const NextIcon = () => (
  <Icon>
    <path d="M6 3l5 5-5 5" />
  </Icon>
);

export const ZoomIcon = () => (
  <Icon>
    <path d="M9.5 2.500h4v4M6.5 13.500h-4v-4M13.5 2.500L9.5 6.500M2.5 13.500l4-4" />
  </Icon>
);

export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);

export const MinusIcon = () => (
  <Icon>
    <path d="M3 8h10" />
  </Icon>
);

export const CodeIcon = () => (
  <Icon>
    <path d="M5.5 4L2 8l3.5 4M10.5 4L14 8l-3.5 4" />
  </Icon>
);

export const SendIcon = () => (
  <Icon>
    <path d="M8 13V3.200M3.8 7.200L8 3l4.2 4.2" />
  </Icon>
);
